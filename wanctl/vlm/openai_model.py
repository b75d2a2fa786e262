"""OpenAIModel: a model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a paid API).

`server_client.py` connects, `openai_body.py` writes and reads the messages, `server_errors.py` says
what errors mean, `backoff.py` how long to wait between attempts.

Requests come from `parallel` threads over one pool of connections, through the client's `post` with
plain dictionaries: 0.8 ms of CPU time a request. Its typed `create` takes 2.3 ms, as it converts
request and answer to models; its asynchronous client takes 1.8 ms.
"""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import openai

from wanctl.log import log
from wanctl.redact import redact
from wanctl.vlm.backoff import Backoff
from wanctl.vlm.chat import ChatAnswer, ChatError, ChatModelOptions, ChatRequest
from wanctl.vlm.openai_body import (
    Features,
    UnreadableAnswerError,
    image_parts,
    read_answer,
    request_body,
)
from wanctl.vlm.schema_prompt import json_object
from wanctl.vlm.server_client import CONNECT_S, connect
from wanctl.vlm.server_errors import Refusal, connection_problem, never_connected, read_refusal

LONGEST_HOLD_S = 600.0
"""A server that asks for a longer pause has a quota by the hour or day."""
_LISTED = 5  # models of the server in an error


class OpenAIModel:
    """Asks a server; see the module. `ask` may be called by many threads.

    Args:
        options: of the model.
        backoff: pauses between attempts; None: as `Backoff` has them, ended by `close`.
    """

    batch = 1

    def __init__(self, options: ChatModelOptions, backoff: Backoff | None = None) -> None:
        if options.model is None:
            raise ChatError("model: got null; the name under which the server has the model")
        self._server = connect(options)
        self._model = options.model
        self._options = options
        self._closed = threading.Event()
        self._backoff = backoff or Backoff(self._closed.wait)
        self._features = Features()
        self._reached = False
        self._objects = False  # whether an answer to a schema was an object

    @property
    def name(self) -> str:
        """The name under which the server has the model."""
        return redact(self._model)

    @property
    def parallel(self) -> int:
        """Requests in flight at the same time."""
        return self._options.parallel

    def check(self) -> None:
        """Ask the server for its models.

        Raises:
            ChatError: there is no server, or it refuses the key.
        """
        try:
            self._models()
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise self._key_error(error.status_code) from None
        except openai.APIConnectionError as error:
            raise self._unreachable(connection_problem(error)) from None

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """The answers, in the order of the requests; several are asked at the same time.

        Raises:
            ChatError: the server cannot be reached, or refuses every request.
        """
        if len(requests) <= 1:
            return [self._ask(request) for request in requests]
        waiting = list(enumerate(requests))[::-1]
        outcomes: SimpleQueue[tuple[int, ChatAnswer | Exception]] = SimpleQueue()
        for _ in range(min(self.parallel, len(requests))):
            # daemons: Ctrl-C does not wait for an answer that may take minutes
            threading.Thread(target=self._work, args=(waiting, outcomes), daemon=True).start()
        answers: dict[int, ChatAnswer] = {}
        try:
            while len(answers) < len(requests):
                number, outcome = outcomes.get()
                if isinstance(outcome, Exception):
                    raise outcome
                answers[number] = outcome
        finally:
            waiting.clear()
        return [answers[number] for number in range(len(requests))]

    def close(self) -> None:
        """Close the connections; requests that wait for their next attempt end."""
        self._closed.set()
        self._server.client.close()

    def _work(
        self,
        waiting: list[tuple[int, ChatRequest]],
        outcomes: "SimpleQueue[tuple[int, ChatAnswer | Exception]]",
    ) -> None:
        """Ask the requests of a list, from its end on, until it is empty."""
        with suppress(IndexError):
            while True:
                number, request = waiting.pop()
                try:
                    outcomes.put((number, self._ask(request)))
                except Exception as error:  # raised where the answers are collected
                    outcomes.put((number, error))
                    return

    def _ask(self, request: ChatRequest) -> ChatAnswer:
        images = image_parts(request.frames, self._options.max_pixels)
        features = self._features
        attempt, problem = 0, ""
        while attempt < self._options.attempts:
            self._backoff.wait_for_hold()
            if self._closed.is_set():
                raise ChatError(f"{self._server.url}: closed before the answer came")
            outcome = self._attempt(request, images, features)
            if isinstance(outcome, ChatAnswer):
                return outcome
            if isinstance(outcome, Features):
                features = outcome
                continue
            problem = outcome
            attempt += 1
            if attempt < self._options.attempts:
                self._backoff.pause(attempt - 1)
        return self._give_up(request, problem)

    def _attempt(
        self, request: ChatRequest, images: list[dict[str, Any]], features: Features
    ) -> ChatAnswer | Features | str:
        """The answer; or with which features to ask at once; or why to ask again later."""
        body = request_body(self._model, request, images, features)
        try:
            text = self._server.client.post("/chat/completions", cast_to=str, body=body)
            self._reached = True
            answer = read_answer(request.id, text)
        except openai.APIStatusError as error:
            self._reached = True
            return self._refused(read_refusal(error), request, features)
        except openai.APIConnectionError as error:
            problem = connection_problem(error)
            if never_connected(error) and not self._reached:
                raise self._unreachable(problem) from None
            return problem
        except UnreadableAnswerError as error:
            return redact(str(error))
        if self._ignores_schema(request, answer, features):
            return replace(features, schema="prompt")
        self._keep(features, request, answer)
        return answer

    def _refused(
        self, refusal: Refusal, request: ChatRequest, features: Features
    ) -> ChatAnswer | Features | str:
        self._raise_if_hopeless(refusal, request)
        if refusal.status in (400, 422):
            simpler = features.without_refused(refusal.message, request)
            if simpler is not None:
                return simpler
        if not refusal.may_pass:
            return ChatAnswer(request.id, "", "failed", error=str(refusal))
        self._hold(refusal)
        return str(refusal)

    def _raise_if_hopeless(self, refusal: Refusal, request: ChatRequest) -> None:
        """Raise ChatError where no other request would be answered either."""
        url, model = self._server.url, self.name
        if refusal.status in (401, 403):
            raise self._key_error(refusal.status)
        if refusal.no_quota:
            raise ChatError(f"{url}: the account has no quota: {refusal}")
        if refusal.status == 404:
            raise ChatError(f"{url}: no model {model!r}: {refusal}; {self._listed_models()}")
        if request.frames is None:
            return
        if refusal.no_vision:
            raise ChatError(
                f"{url}: {model!r} is a model without vision, as the server says ({refusal}); "
                "name a vision-language model"
            )
        if most := refusal.most_images:
            raise ChatError(
                f"{url}: takes {most} images in a request, got {len(request.frames.images)}; lower "
                "caption.max_frames, or start the server with a higher limit (vLLM: "
                "--limit-mm-per-prompt)"
            )

    def _hold(self, refusal: Refusal) -> None:
        """Keep to the pause that the server asks for."""
        seconds = self._backoff.requested_s(refusal.headers)
        if seconds is None:
            return
        if seconds > LONGEST_HOLD_S:
            raise ChatError(
                f"{self._server.url}: {refusal}; the server asks to wait {seconds / 60:.0f} "
                "minutes; run the command again then, it goes on where it stopped"
            )
        self._backoff.hold(seconds)

    def _give_up(self, request: ChatRequest, problem: str) -> ChatAnswer:
        """A failed answer where the server answers others; otherwise the end."""
        tries = f"{self._options.attempts} attempts"
        try:
            self._models()
        except openai.APIStatusError as error:
            alive = error.status_code < 500
        except openai.APIConnectionError:
            alive = False
        else:
            alive = True
        if not alive:
            raise ChatError(
                f"{self._server.url}: the server answers no more ({tries}, last: {problem}); "
                "start it and run the command again, it goes on where it stopped"
            )
        return ChatAnswer(request.id, "", "failed", error=f"{tries}, last: {problem}")

    def _ignores_schema(self, request: ChatRequest, answer: ChatAnswer, features: Features) -> bool:
        """Whether a server seems to pass over the schema without a word, as some do."""
        return (
            request.schema is not None
            and features.schema != "prompt"
            and answer.finish == "stop"
            and not self._objects
            and not _has_object(answer)
        )

    def _keep(self, features: Features, request: ChatRequest, answer: ChatAnswer) -> None:
        """Use the features that led to an answer for all later requests."""
        if request.schema is not None and not self._objects:
            self._objects = _has_object(answer)
            if not self._objects:  # says nothing about the server
                return
        if features != self._features:
            self._features = features
            if lacking := features.lacks():
                log.warning("%s: does not take %s; left out", self._server.url, lacking)

    def _models(self) -> list[str]:
        """Names that the server lists."""
        text = self._server.client.get("/models", cast_to=str, options={"timeout": CONNECT_S})
        self._reached = True
        with suppress(ValueError, TypeError, KeyError):
            return [str(row["id"]) for row in json.loads(text)["data"]]
        return []

    def _listed_models(self) -> str:
        try:
            names = self._models()
        except openai.APIError:
            names = []
        if not names:
            return "the server lists no models; the URL goes up to and with /v1"
        listed = ", ".join(map(repr, names[:_LISTED]))
        return redact(f"it has {listed}" + (" and others" if len(names) > _LISTED else ""))

    def _key_error(self, status: int) -> ChatError:
        return ChatError(f"{self._server.url}: {status}: {self._server.key_problem}")

    def _unreachable(self, problem: str) -> ChatError:
        return ChatError(
            f"{self._server.url}: no server answers ({problem}); start it, or correct the URL"
        )


def _has_object(answer: ChatAnswer) -> bool:
    try:
        json_object(answer.text)
    except ValueError:
        return False
    return True
