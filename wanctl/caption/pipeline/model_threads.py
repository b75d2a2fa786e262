"""Threads that keep one model busy, the requests that wait for them, and how busy it was.

A model that takes several requests in one call has one thread and asks `batch` at a time; a server
or an engine that batches by itself has `parallel` threads with one request each.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from wanctl.vlm.chat import ChatAnswer, ChatModel, ChatRequest


class Occupancy:
    """The mean share of a model's places that held a request, over the time since the start.

    Args:
        clock: seconds, ever rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start_s = self._last_s = clock()
        self._busy = 0.0
        self._share_s = 0.0
        self._lock = threading.Lock()

    def change(self, share: float) -> None:
        """Add `share` of all places to those in use; negative when requests have ended."""
        with self._lock:
            self._note()
            self._busy += share

    @property
    def share(self) -> float:
        """0 to 1."""
        with self._lock:
            self._note()
            return self._share_s / max(self._last_s - self._start_s, 1e-9)

    def _note(self) -> None:
        now = self._clock()
        self._share_s += min(self._busy, 1.0) * (now - self._last_s)
        self._last_s = now


class RequestQueue:
    """Requests that wait for one model: those that follow from an answer before those of new clips.

    Requests with and without frames are not mixed in one batch, where the short ones would be
    padded to the length of the long ones.
    """

    def __init__(self) -> None:
        self._waiting: dict[bool, deque[ChatRequest]] = {False: deque(), True: deque()}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, request: ChatRequest, *, first: bool) -> None:
        """Add a request; with `first` it comes before all others of its kind."""
        with self._changed:
            queue = self._waiting[request.frames is not None]
            (queue.appendleft if first else queue.append)(request)
            self._changed.notify()

    def take(self, count: int) -> list[ChatRequest]:
        """Wait for requests and take up to `count` of one kind; none once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            if self._closed:
                return []
            text, frames = self._waiting[False], self._waiting[True]
            # a full batch is better than a follow-up; of two full ones the follow-up comes first
            queue = text if len(text) >= min(count, len(frames)) and text else frames
            return [queue.popleft() for _ in range(min(count, len(queue)))]

    def close(self) -> None:
        """Let all that wait in `take` end; what is left in the queue is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class ModelThreads:
    """Asks one model.

    Args:
        model: it is checked, and nothing is loaded yet.
        answered: called in one of the threads with the answers of each call.
        failed: called in one of the threads with an exception of the model; the thread ends.
    """

    def __init__(
        self,
        model: ChatModel,
        answered: Callable[[Sequence[ChatAnswer]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.model = model
        self.occupancy = Occupancy()
        self._queue = RequestQueue()
        self._answered, self._failed = answered, failed
        # daemons: Ctrl-C does not wait for an answer that may take minutes
        self._threads = [
            threading.Thread(target=self._serve, daemon=True, name=f"ask {number}")
            for number in range(model.parallel)
        ]

    @property
    def places(self) -> int:
        """Requests at the same time that keep the model busy."""
        return self.model.parallel * self.model.batch

    def start(self) -> None:
        """Start the threads."""
        self.occupancy = Occupancy()
        for thread in self._threads:
            thread.start()

    def put(self, request: ChatRequest, *, first: bool) -> None:
        """Ask when there is a place; with `first` before all others of its kind."""
        self._queue.put(request, first=first)

    def stop(self) -> None:
        """Ask nothing more; does not wait for requests that are under way."""
        self._queue.close()

    def _serve(self) -> None:
        while requests := self._queue.take(self.model.batch):
            share = len(requests) / self.places
            self.occupancy.change(share)
            try:
                answers = _matched(requests, self.model.ask(requests))
            except BaseException as error:  # the main thread raises it
                self._failed(error)
                return
            finally:
                self.occupancy.change(-share)
            self._answered(answers)


def _matched(requests: Sequence[ChatRequest], answers: Sequence[Any]) -> list[ChatAnswer]:
    """One answer per request; `failed` where the backend gave none with its id."""
    by_id = {answer.id: answer for answer in answers}
    return [
        by_id.get(each.id)
        or ChatAnswer(each.id, "", "failed", error="the backend returned no answer with this id")
        for each in requests
    ]
