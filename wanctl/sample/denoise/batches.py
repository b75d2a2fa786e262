"""Groups outputs into batches.

A batch is faster where a transformer call is so short that launching its operations dominates.
Measured on one core, CPU time per output against one at a time: 16 tokens, 8 together 0.33x, 16
together 0.27x; 75 tokens, 2 to 8 together 0.73x; at the widths of the 1.3B model 64 tokens, 4
together 0.87x, and 256 tokens, 2 together 1.06x. Outputs are equal up to rounding.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# Tokens of all outputs of a batch, for one prompt each; guidance doubles them.
BATCH_TOKENS = 256


def batches(
    outputs: Iterable[T],
    kind: Callable[[T], str],
    tokens: Callable[[T], int],
    most: int | None = None,
) -> Iterator[list[T]]:
    """Group outputs of one kind; kinds keep the order of their first output.

    Args:
        outputs: what to group.
        kind: outputs of equal kinds may share a batch.
        tokens: tokens of one output.
        most: outputs per batch; None: up to BATCH_TOKENS tokens.
    """
    kinds: dict[str, list[T]] = {}
    for output in outputs:
        kinds.setdefault(kind(output), []).append(output)
    for group in kinds.values():
        size = most or max(1, BATCH_TOKENS // tokens(group[0]))
        for start in range(0, len(group), size):
            yield group[start : start + size]
