"""Width of the sharpest edges of a frame, from first and second differences.

Across a Gaussian edge of width s the energy of the second difference is 1 / (2 s^2) of the energy
of the first: their ratio gives the width, independent of contrast.
"""

import numpy as np

_ROWS, _COLUMNS = 8, 10  # tiles
_LINES = 120  # sampled per frame, at most
_MIN_ENERGY = 6.0  # of first differences in a tile, in levels squared; below it there is no edge
_SHARPEST = 0.06  # share of the tiles that may be this sharp; few, as a subject may be small
_NOISE_TILES = 0.1  # quantile of the tiles that estimates the noise
_NOISE_PART = 0.9  # of the noise is subtracted; all of it would remove fine texture
_MIN_TILES = 3


def edge_widths(luma: np.ndarray) -> list[float]:
    """Width in pixels of the sharpest edges along up to four directions that have edges.

    Args:
        luma: (H, W) uint8.
    """
    if min(luma.shape) < 2 * _COLUMNS + 2:
        return []
    # _LINES lines are enough at any size; `above` and `below` are their neighbours
    step = max(1, luma.shape[0] // _LINES)
    width = (luma.shape[1] - 2) // _COLUMNS * _COLUMNS + 2
    height = (luma.shape[0] - 2) // step // _ROWS * _ROWS
    above, on, below = (luma[k::step][:height, :width].astype(np.int16) for k in range(3))
    twice = 2 * on[:, 1:-1]
    sides = (
        (1.0, on[:, :-2], on[:, 2:]),
        (1.0, above[:, 1:-1], below[:, 1:-1]),
        (2**0.5, above[:, :-2], below[:, 2:]),
        (2**0.5, above[:, 2:], below[:, :-2]),
    )
    widths = [
        _width(_energy(after - before), _energy(before + after - twice)) * step_px
        for step_px, before, after in sides
    ]
    return [width for width in widths if width > 0]


def _energy(difference: np.ndarray) -> np.ndarray:
    """Mean square of (H, W) int16 in each tile, flat."""
    import cv2

    height, width = difference.shape[0] // _ROWS, difference.shape[1] // _COLUMNS
    square = cv2.multiply(difference, difference, dtype=cv2.CV_32F)
    # rows first: sums over contiguous rows are fast
    sums = square.reshape(_ROWS, height, -1).sum(axis=1).reshape(_ROWS, _COLUMNS, width)
    return (sums.sum(axis=2) / (height * width)).ravel()


def _width(first: np.ndarray, second: np.ndarray) -> float:
    """Width of the sharpest edges from the energies in each tile; 0 where there is no edge."""
    # white noise of variance v adds 6 v to the second difference, 2 v to the central first one
    calm = np.sort(second)[round(_NOISE_TILES * (len(second) - 1))]
    noise = _NOISE_PART * float(calm)
    first, second = first - noise / 3, np.maximum(second - noise, 1e-3)
    textured = first > _MIN_ENERGY
    if textured.sum() < _MIN_TILES:
        return 0.0
    widths = np.sort(np.sqrt(first[textured] / (8 * second[textured])))
    return float(widths[max(1, round(_SHARPEST * len(widths))) - 1])
