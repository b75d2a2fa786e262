"""Make the next batches while the model works on this one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


def prefetch(
    make: Callable[[KeyT], ValueT], keys: Iterable[KeyT], *, depth: int = 2
) -> Generator[ValueT, None, None]:
    """`map(make, keys)` in order, with up to `depth` results made ahead in one thread.

    One thread only: decord's reader is not safe to share, and order needs no thought.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: deque[Future[ValueT]] = deque()
        remaining = iter(keys)
        try:
            for key in remaining:
                waiting.append(pool.submit(make, key))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # A run that stops must not wait for clips it will never use.
            for future in waiting:
                future.cancel()
