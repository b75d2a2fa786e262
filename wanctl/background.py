"""Making things and using them up at the same time, in order."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

LOOK_S = 0.1  # how soon a maker that waits for room notices that nobody takes anything any more


class _End:
    """The last thing that is handed over."""


class _CutOffError(_End, Exception):
    """Handed over, and raised where it arrives, when not everything could be made."""


def use_beside(make: Iterable[T], use: Callable[[Iterator[T]], R], ahead: int) -> R:
    """Let `use` take things in a thread of its own while further ones are made in this one.

    Making stays here because autograd's mode and the current GPU are a thread's own.

    Args:
        make: the things.
        use: takes them in order; what it returns is returned.
        ahead: how many may wait.

    Raises:
        Exception: what making or using raised; neither goes on after the other has failed.
    """
    waiting: Queue[Any] = Queue(ahead)

    def arriving() -> Iterator[T]:
        while not isinstance(thing := waiting.get(), _End):
            yield thing
        if isinstance(thing, _CutOffError):
            raise thing

    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(use, arriving())
        last: _End = _CutOffError()
        try:
            if all(_hand_over(thing, waiting, result) for thing in make):
                last = _End()
        finally:
            _hand_over(last, waiting, result)
        return result.result()


def _hand_over(thing: object, waiting: Queue[Any], result: Future[Any]) -> bool:
    """Whether there is still somebody who takes it."""
    while not result.done():
        try:
            waiting.put(thing, timeout=LOOK_S)
        except Full:
            continue
        return True
    return False
