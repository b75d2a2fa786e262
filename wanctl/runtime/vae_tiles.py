"""Where the tiles of the VAE lie, all in latents. Torch-free: recipes are checked against MIN_TILE.

Tiles overlap, because a tile sees zeros beyond its edges. The error that this causes in a decoded
pixel decreases fast with the distance from the edge: at most 0.9 of the pixels' range of 2 at the
edge, 0.12 four latents away from it, 0.009 six and 0.0004 eight (five real clips through the
demo's VAE). So the outermost six latents of a tile are discarded, whatever its size.
"""

import math
from typing import NamedTuple

# In latents, along one axis of the frame.
MARGIN = 6  # computed for the latents further inside, then discarded
FADE = 2  # over which one tile is blended into the next
OVERLAP = 2 * MARGIN + FADE  # of neighbouring tiles
MIN_TILE = 2 * OVERLAP  # below it most of the work is discarded


class TileRange(NamedTuple):
    """Rows or columns of one tile, in latents."""

    start: int
    end: int


def tile_ranges(size: int, side: int) -> list[TileRange]:
    """Tiles along one axis: as few as `side` allows, then as small as these can be."""
    if size <= side:
        return [TileRange(0, size)]
    count = math.ceil((size - OVERLAP) / (side - OVERLAP))
    fitted = math.ceil((size + (count - 1) * OVERLAP) / count)
    starts = [i * (fitted - OVERLAP) for i in range(count)]
    return [TileRange(start, min(start + fitted, size)) for start in starts]


def overlap_factor(size: int, side: int) -> float:
    """How often a latent along one axis is computed, on average."""
    return sum(tile.end - tile.start for tile in tile_ranges(size, side)) / size
