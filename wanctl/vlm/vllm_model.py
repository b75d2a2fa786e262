"""VllmModel: a model in this process by vLLM, which batches requests as they come and go.

`vllm_engine.py` runs the engine, `vllm_prompts.py` writes its prompts. Tested with vLLM 0.32.
"""

import importlib.util
import threading
from collections.abc import Sequence

from wanctl.vlm.chat import ChatAnswer, ChatError, ChatModelOptions, ChatRequest
from wanctl.vlm.transformers.folder import find_folder
from wanctl.vlm.transformers.interface import Interface, load_interface
from wanctl.vlm.vllm_engine import Engine
from wanctl.vlm.vllm_prompts import engine_prompt


class VllmModel:
    """Any model that vLLM runs. `ask` may be called by many threads.

    Args:
        options: which model and how it is run.

    Raises:
        ChatError: no model is named.
    """

    batch = 1

    def __init__(self, options: ChatModelOptions) -> None:
        if options.model is None:
            raise ChatError(
                "model: got null; name a folder or a hub id (Qwen/Qwen2.5-VL-7B-Instruct)"
            )
        self.name: str = options.model
        self.parallel: int = options.parallel
        self._options = options
        self._starting = threading.Lock()
        self._interface: Interface | None = None
        self._engine: Engine | None = None

    def check(self) -> None:
        """Verify that vLLM is installed, and read everything but the weights.

        Raises:
            ChatError: vLLM or the model is missing, or one GPU of several is named.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ChatError('backend vllm: vLLM is not installed; pip install "wanctl[vllm]"')
        if ":" in self._options.device:
            raise ChatError(
                f"device {self._options.device}: vLLM takes the GPUs that CUDA_VISIBLE_DEVICES "
                "names; set that, and `device` to auto"
            )
        if self._interface is None:
            self._interface = load_interface(
                self.name, trust_remote_code=self._options.trust_remote_code
            )

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers, in the order of the requests.

        Raises:
            ChatError: the model cannot be loaded, does not see what it is shown, or has stopped.
        """
        interface, engine = self._started()
        prompts = [
            engine_prompt(request, interface, self._options.max_pixels) for request in requests
        ]
        waiting = [
            engine.submit(request, prompt)
            for request, prompt in zip(requests, prompts, strict=True)
        ]
        try:
            return [each.result() for each in waiting]
        finally:
            for each in waiting:
                each.cancel()

    def close(self) -> None:
        """Free the model."""
        with self._starting:
            if self._engine is not None:
                self._engine.stop()
                self._engine = None

    def _started(self) -> tuple[Interface, Engine]:
        with self._starting:
            self.check()
            assert self._interface is not None
            if self._engine is None:
                folder = find_folder(self.name, weights=True)
                self._engine = Engine(str(folder), self._options)
            return self._interface, self._engine
