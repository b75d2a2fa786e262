"""Bounded producer/consumer in order, with one thread: consume in it, or produce in it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# How soon a producer that waits for room notices that the consumer has ended.
POLL_S = 0.1


class _End:
    """The last item of the queue."""


class _ProducerFailedError(_End, Exception):
    """The last item where the producer failed; raised in the consumer when it arrives there."""


def run_in_background(
    items: Iterable[T], consume: Callable[[Iterator[T]], R], max_pending: int
) -> R:
    """Run `consume` in a thread while this thread produces its items.

    The producer stays in the calling thread because autograd's mode and the current GPU belong to
    a thread.

    Args:
        items: produced in the calling thread.
        consume: takes the items in order; its result is returned.
        max_pending: capacity of the queue between the two.

    Raises:
        Exception: what the producer or the consumer raised; the other one is stopped.
    """
    queue: Queue[Any] = Queue(max_pending)

    def arriving() -> Iterator[T]:
        while not isinstance(item := queue.get(), _End):
            yield item
        if isinstance(item, _ProducerFailedError):
            raise item

    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(consume, arriving())
        last: _End = _ProducerFailedError()
        try:
            if all(_put(item, queue, result) for item in items):
                last = _End()
        finally:
            _put(last, queue, result)
        return result.result()


def prefetch(
    function: Callable[[T], R], arguments: Iterable[T], *, depth: int = 2
) -> Generator[R, None, None]:
    """`map(function, arguments)` in order, with up to `depth` results computed ahead in a thread.

    One thread only: decord's reader must not be shared between threads, and results stay in order.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending: deque[Future[R]] = deque()
        try:
            for argument in arguments:
                pending.append(pool.submit(function, argument))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # A run that stops must not wait for clips that it will never use.
            for future in pending:
                future.cancel()


def _put(item: object, queue: Queue[Any], consumer: Future[Any]) -> bool:
    """Put an item into the queue; returns False where the consumer has ended."""
    while not consumer.done():
        try:
            queue.put(item, timeout=POLL_S)
        except Full:
            continue
        return True
    return False
