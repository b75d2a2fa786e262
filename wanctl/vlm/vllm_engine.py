"""The vLLM engine in a thread with an event loop of its own: requests in, answers out."""

import asyncio
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import Any

from wanctl.escaping import one_line
from wanctl.vlm.chat import ChatAnswer, ChatError, ChatModelOptions, ChatRequest, Finish
from wanctl.vlm.schema_prompt import without_thoughts

_FINISH: dict[str | None, Finish] = {"stop": "stop", "length": "length"}
_STOP_S = 30.0


class Engine:
    """A running engine. Its methods may be called by many threads.

    Args:
        folder: of the model.
        options: how it is run.

    Raises:
        ChatError: the engine does not start; it has printed why.
    """

    def __init__(self, folder: str, options: ChatModelOptions) -> None:
        self._name = options.model
        self._timeout_s = options.timeout_s
        self._numbers = count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(_start(folder, options), self._loop)
        try:
            self._engine = starting.result()
        # vLLM raises whatever its parts raise, and most of them are in another process
        except Exception as error:
            self._stop_loop()
            raise ChatError(
                f"model {self._name}: vLLM cannot run it ({_reason(error)}); what it printed above "
                "says why; `backend: transformers` runs more models"
            ) from None

    def submit(self, request: ChatRequest, prompt: dict[str, Any]) -> "Future[ChatAnswer]":
        """Begin to answer a request, beside those that are under way."""
        return asyncio.run_coroutine_threadsafe(self._answer(request, prompt), self._loop)

    def stop(self) -> None:
        """Stop the engine; requests under way end with an error."""
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(_STOP_S)
        self._stop_loop()

    async def _answer(self, request: ChatRequest, prompt: dict[str, Any]) -> ChatAnswer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._generate(request, prompt)
        except TimeoutError:
            problem = f"no answer in {self._timeout_s:g} s"
        # a request that vLLM cannot take; the others are answered all the same
        except Exception as error:
            problem = _reason(error)
            if self._engine.errored:
                raise ChatError(
                    f"model {self._name}: vLLM has stopped ({problem}); what it printed above says "
                    "why; run the command again, it goes on where it stopped"
                ) from None
        return ChatAnswer(request.id, "", "failed", error=problem)

    async def _generate(self, request: ChatRequest, prompt: dict[str, Any]) -> ChatAnswer:
        parameters = import_module("vllm.sampling_params")
        schema = request.schema and parameters.StructuredOutputsParams(json=dict(request.schema))
        # what the model's publisher recommends, such as a penalty of repetition
        recommended = self._engine.model_config.get_diff_sampling_param()
        sampling = parameters.SamplingParams(
            **recommended
            | {
                "temperature": request.temperature,
                "max_tokens": request.max_tokens,
                "seed": request.seed,
                "structured_outputs": schema,
            }
        )
        # ids of requests may repeat; those of the engine must not
        number = str(next(self._numbers))
        last: Any = None
        async for state in self._engine.generate(prompt, sampling, number):
            last = state
        output = last.outputs[0]
        return ChatAnswer(
            id=request.id,
            text=without_thoughts(output.text),
            finish=_FINISH.get(output.finish_reason, "failed"),
            input_tokens=len(last.prompt_token_ids or ()),
            output_tokens=len(output.token_ids),
        )

    async def _shut_down(self) -> None:
        self._engine.shutdown()
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)


async def _start(folder: str, options: ChatModelOptions) -> Any:
    """The engine, made in the loop in which it runs."""
    # read when vLLM is imported: its log between the lines of the progress, its report of the
    # machine and the model to its makers
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # an optional package, which type checkers do not find
    arguments = import_module("vllm.engine.arg_utils")
    engine = import_module("vllm.v1.engine.async_llm")
    return engine.AsyncLLM.from_engine_args(
        arguments.AsyncEngineArgs(
            model=folder,
            dtype=options.dtype,
            trust_remote_code=options.trust_remote_code,
            max_num_seqs=options.parallel,
            # as long as the memory allows
            max_model_len=-1,
            # a grammar that allows blanks lets some models write nothing else until the limit
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            disable_log_stats=True,
        )
    )


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return one_line(f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300])
