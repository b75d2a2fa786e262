"""An OpenAI-compatible server for tests, whose answers, speed and faults are known.

    with StubServer(structured_answer, delay_s=0.05, limit=32) as server:
        server.url        # "http://127.0.0.1:PORT/v1"
        server.requests   # Counter: clip id -> requests

It runs in a thread of this process. `StubProcess` runs it with `structured_answer` in a process of
its own, for measurements of speed: a thread would compete with the client for the interpreter.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web

from tests.unit.vlm.stub_answers import clip_of, schema_of, structured_answer, text_of

__all__ = ["FAULTS", "FaultPlan", "StubProcess", "StubServer", "structured_answer"]

OTHER_CLIP = "0123456789abcdef"
TRANSPORT_FAULTS = ("500", "429", "hang", "reset", "half", "html", "html_200", "no_choices")
"""What a client may try again by itself."""
ANSWER_FAULTS = ("wrong_id", "truncated", "refusal", "content_filter", "duplicate")
"""What arrives as an answer, so that only its reader can notice."""
FAULTS = TRANSPORT_FAULTS + ANSWER_FAULTS


class FaultPlan:
    """Which requests go wrong, and how: the same for the same seed, in whatever order they come.

    Args:
        shares: fault -> share of the requests that it hits.
        seed: of the draws.
        at_most: faults of one question (clip and fields asked for); later tries are answered.
    """

    def __init__(self, shares: Mapping[str, float], seed: int = 0, at_most: int = 2) -> None:
        if unknown := set(shares) - set(FAULTS):
            raise ValueError(f"no such faults: {sorted(unknown)}")
        self.shares = dict(shares)
        self.seed = seed
        self.at_most = at_most
        self._tries: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()

    def draw(self, question: str) -> str | None:
        """The fault of the next try of a question; None where it is answered."""
        number = self._tries[question]
        self._tries[question] += 1
        value = random.Random(f"{self.seed} {question} {number}").random()
        for fault, share in self.shares.items():
            value -= share
            if value < 0:
                if self._hits[question] >= self.at_most:
                    return None
                self._hits[question] += 1
                return fault
        return None


class StubServer:
    """The server in a thread; see the module.

    Args:
        answer: request -> text of the answer.
        delay_s: time that one answer takes.
        limit: answers in work at the same time; the others wait. The server's own maximum rate is
            `limit / delay_s`.
        faults: None for none.
        models: that `/v1/models` lists; a request for another is answered with 404.
        key: that a request has to bring; None: none is looked at.
        no_vision: error message for a request with pictures; None: they are taken.
        no_schema: error message for a request with `response_format`; None: it is taken.
        retry_after: header of a 429; None: not sent.
        port: 0 for a free one.
    """

    def __init__(
        self,
        answer: Callable[[dict], str] = structured_answer,
        delay_s: float = 0.0,
        limit: int = 32,
        faults: FaultPlan | None = None,
        models: tuple[str, ...] = ("stub",),
        key: str | None = None,
        no_vision: str | None = None,
        no_schema: str | None = None,
        retry_after: str | None = "0",
        port: int = 0,
    ) -> None:
        self.answer, self.delay_s, self.limit, self.faults = answer, delay_s, limit, faults
        self.models, self.key, self.port = models, key, port
        self.no_vision, self.no_schema, self.retry_after = no_vision, no_schema, retry_after
        self.url = ""
        self.requests: Counter[str] = Counter()
        """Clip id -> requests that arrived, faults included."""
        self.answered: Counter[str] = Counter()
        """Clip id -> requests that were answered without a fault."""
        self.faulty: Counter[str] = Counter()
        """Fault -> requests that it hit."""
        self.bodies: list[dict] = []
        """The last hundred requests."""
        self.most_in_work = 0
        self.first_s = self.last_s = 0.0
        """`time.monotonic` of the first request and of the last answer."""
        self._in_work = 0
        self._last: tuple[str, str] = ("", "")
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stub server", daemon=True)

    def __enter__(self) -> "StubServer":
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the stub server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._places = asyncio.Semaphore(self.limit)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._ready.set()
        await self._closing.wait()
        await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if refused := self._wrong_key(request):
            return refused
        rows = [{"id": name, "object": "model", "owned_by": "stub"} for name in self.models]
        return web.json_response({"object": "list", "data": rows})

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats())

    def stats(self) -> dict:
        """The counters, as `/stats` gives them."""
        return {
            "requests": self.requests, "answered": self.answered, "faulty": self.faulty,
            "most_in_work": self.most_in_work, "seconds": self.last_s - self.first_s,
        }  # fmt: skip

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.first_s = self.first_s or time.monotonic()
        if refused := self._wrong_key(request):
            return refused
        body = json.loads(await request.read())
        self.bodies = [*self.bodies[-99:], body]
        clip = clip_of(body)
        self.requests[clip] += 1
        if problem := self._problem(body):
            return problem
        fault = self.faults.draw(_question(body)) if self.faults else None
        if fault:
            self.faulty[fault] += 1
        async with self._places:
            self._in_work += 1
            self.most_in_work = max(self.most_in_work, self._in_work)
            try:
                if fault != "hang":
                    await asyncio.sleep(self.delay_s)
            finally:
                self._in_work -= 1
        self.last_s = time.monotonic()
        if fault in TRANSPORT_FAULTS:
            return await self._broken(fault, request)
        text, finish, refusal = self._text(fault, body, clip), "stop", None
        if fault == "truncated":
            text, finish = text[: len(text) // 2], "length"
        elif fault == "refusal":
            text = "I'm sorry, but I can't help with that."
        elif fault == "content_filter":
            text, finish = "", "content_filter"
        if not fault:
            self.answered[clip] += 1
        return web.json_response(_completion(body, text, finish, refusal))

    def _text(self, fault: str | None, body: dict, clip: str) -> str:
        text = self.answer(body)
        other, last = self._last
        self._last = (clip, text)
        if fault == "wrong_id":
            return text.replace(json.dumps(clip), json.dumps(OTHER_CLIP))
        if fault == "duplicate":
            return last if other not in ("", clip) else text.replace(clip, OTHER_CLIP)
        return text

    async def _broken(self, fault: str, request: web.Request) -> web.StreamResponse:
        if fault == "500":
            return _error(500, "the engine has crashed", "internal_error")
        if fault == "429":
            headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return _error(429, "too many requests", "rate_limit_exceeded", headers)
        if fault == "no_choices":
            return web.json_response(_completion({}, "", "stop", None) | {"choices": []})
        if fault in ("html", "html_200"):
            page = "<html><body><h1>Bad gateway</h1></body></html>"
            status = 200 if fault == "html_200" else 502
            return web.Response(text=page, status=status, content_type="text/html")
        if fault == "hang":
            await self._closing.wait()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if fault == "half":
            response.content_length = 4096
            await response.prepare(request)
            await response.write(b'{"id": "1", "choices": [{"index": 0, "mess')
        if request.transport is not None:
            request.transport.abort()
        return response

    def _wrong_key(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is None or given == self.key:
            return None
        # servers do repeat the key; it must not get into a log
        return _error(401, f"Incorrect API key provided: {given}", "invalid_api_key")

    def refuse(self, message: str) -> web.Response:
        """A refusal of the request itself: 400."""
        return _error(400, message, "BadRequestError")

    def _problem(self, body: dict) -> web.Response | None:
        if body["model"] not in self.models:
            return _error(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
        if self.no_vision is not None and '"image_url"' in json.dumps(body["messages"]):
            return self.refuse(self.no_vision)
        if self.no_schema is not None and "response_format" in body:
            return self.refuse(self.no_schema)
        return None


class StubProcess:
    """The server with `structured_answer` in a process of its own; `stats()` asks its counters."""

    def __init__(
        self,
        delay_s: float = 0.0,
        limit: int = 32,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        root = Path(__file__).parents[3]
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "tests.unit.vlm.stub_server", f"--delay={delay_s}",
                f"--limit={limit}", f"--faults={json.dumps(dict(faults or {}))}", f"--seed={seed}",
            ],
            stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def __enter__(self) -> "StubProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)

    def stats(self) -> dict:
        """`requests`, `answered` and `faulty` of the server, and its seconds of work."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats") as answer:
            return json.load(answer)


def _question(body: dict) -> str:
    """What tries of one question have in common; their prompts may differ."""
    schema = schema_of(body)
    return f"{clip_of(body)} {sorted(schema['properties'])}" if schema else text_of(body)


def _completion(body: dict, text: str, finish: str, refusal: str | None) -> dict:
    pictures = json.dumps(body.get("messages", [])).count('"image_url": {')
    given = len(text_of(body)) // 4 + 64 * pictures if body else 0
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "stub", "object": "chat.completion", "created": 0, "model": body.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": given, "completion_tokens": len(text) // 4,
            "total_tokens": given + len(text) // 4,
        },
    }  # fmt: skip


def _error(
    status: int, message: str, code: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    error = {"message": message, "type": code, "code": code, "param": None}
    return web.json_response({"error": error}, status=status, headers=headers)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--faults", type=json.loads)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    plan = FaultPlan(options.faults, options.seed) if options.faults else None
    with StubServer(structured_answer, options.delay, options.limit, plan) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    _main()
