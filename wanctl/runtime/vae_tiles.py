"""Where the VAE's tiles lie and how one fades into the next. Torch-free, all in latent units.

A tile sees zeros beyond its edges. What that does to a decoded pixel dies out fast: at most 0.9 of
the pixels' range of 2 beside the edge, 0.12 four latents away from it, 0.009 six and 0.0004 eight
(five real clips through the demo's VAE). So the outermost six of a tile are thrown away, whatever
its size.
"""

import math
from typing import NamedTuple

MARGIN = 6  # computed for the sake of what lies further in
FADE = 2
SHARED = 2 * MARGIN + FADE  # between neighbours
SMALLEST = 2 * SHARED  # below it most of the work is thrown away


class Span(NamedTuple):
    """Rows or columns of one tile."""

    start: int
    end: int


def spans(size: int, side: int) -> list[Span]:
    """Tiles along one axis: as few as `side` allows, then as small as these can be."""
    if size <= side:
        return [Span(0, size)]
    count = math.ceil((size - SHARED) / (side - SHARED))
    fitted = math.ceil((size + (count - 1) * SHARED) / count)
    starts = [i * (fitted - SHARED) for i in range(count)]
    return [Span(start, min(start + fitted, size)) for start in starts]


def times_seen(size: int, side: int) -> float:
    """How often a place along one axis is computed, on average."""
    return sum(span.end - span.start for span in spans(size, side)) / size
