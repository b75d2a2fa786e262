"""Which outputs are made together.

A batch pays where a call of the transformer is so short that starting its operations is most of
it. Measured on one core, CPU time per output against one at a time: 16 tokens, 8 together 0.33x,
16 together 0.27x; 75 tokens, 2 to 8 together 0.73x; at the widths of the 1.3B model 64 tokens,
4 together 0.87x, and 256 tokens, 2 together 1.06x. Equal outputs come out but for rounding.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# Tokens of all outputs of a batch, one prompt each: with guidance there are twice as many.
BATCH_TOKENS = 256


def batches(
    jobs: Iterable[T],
    kind: Callable[[T], str],
    tokens: Callable[[T], int],
    most: int | None = None,
) -> Iterator[list[T]]:
    """Outputs of one kind together, kinds in the order in which they first come.

    Args:
        jobs: what is to be made.
        kind: jobs of equal kinds may share a batch.
        tokens: of one output.
        most: outputs per batch; None: as many as pay.
    """
    kinds: dict[str, list[T]] = {}
    for job in jobs:
        kinds.setdefault(kind(job), []).append(job)
    for alike in kinds.values():
        size = most or max(1, BATCH_TOKENS // tokens(alike[0]))
        for start in range(0, len(alike), size):
            yield alike[start : start + size]
