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
    # whole numbers are subtracted in half the time, and buffers that are used again stay cached
    difference = np.empty_like(twice)
    square = np.empty(twice.shape, np.float32)
    first, second = np.empty((2, len(sides), _ROWS * _COLUMNS), np.float32)
    for number, (_, before, after) in enumerate(sides):
        np.subtract(after, before, out=difference)
        first[number] = _energy(difference, square)
        np.add(before, after, out=difference)
        np.subtract(difference, twice, out=difference)
        second[number] = _energy(difference, square)
    widths = _widths(first, second) * np.array([step_px for step_px, _, _ in sides])
    return widths[widths > 0].tolist()


def _energy(difference: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Mean square of (H, W) int16 in each tile, flat; `square` is an (H, W) float32 buffer."""
    height, width = difference.shape[0] // _ROWS, difference.shape[1] // _COLUMNS
    np.copyto(square, difference)
    np.multiply(square, square, out=square)
    # sums as products of matrices, rows first
    rows = np.ones((1, height), np.float32) @ square.reshape(_ROWS, height, -1)
    sums = rows.reshape(_ROWS * _COLUMNS, width) @ np.ones(width, np.float32)
    return sums / (height * width)


def _widths(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(D,) width of the sharpest edges along each direction; 0 where there is no edge.

    Args:
        first: (D, tiles) energies of first differences.
        second: (D, tiles) energies of second differences.
    """
    # white noise of variance v adds 6 v to the second difference, 2 v to the central first one
    calm = np.sort(second, axis=1)[:, [round(_NOISE_TILES * (second.shape[1] - 1))]]
    noise = _NOISE_PART * calm.astype(np.float64)
    first, second = first - noise / 3, np.maximum(second - noise, 1e-3)
    textured = first > _MIN_ENERGY
    squares = np.where(textured, first / (8 * second), np.inf)
    count = textured.sum(axis=1)
    sharpest = np.maximum(1, np.rint(_SHARPEST * count).astype(np.int64)) - 1
    chosen = np.sort(squares, axis=1)[np.arange(len(count)), sharpest]
    return np.where(count < _MIN_TILES, 0.0, np.sqrt(chosen))
