"""Measures edges that stand still in moving footage: candidates for overlaid marks.

A mark's gradient is the same in every frame while the rest of the frame changes. A clip is reduced
to the few cells whose mean gradient is strong and steady; those of many shots can then be combined
without decoding frames again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

COARSE = 8  # cells of the grid per cell of the map of movement
_CAP = 48  # levels; a short bright event must not outweigh all other frames
MIN_EDGE = 5.0  # levels, of the mean gradient
_MIN_STEADY = 0.3  # of a single clip's cells that are kept
_MAX_CELLS = 2500
UNIT = 4  # stored parts of a level
_QUANTILES = 1.683  # from the 20th to the 80th percentile of a normal distribution, in deviations


class Edges(NamedTuple):
    """A clip's standing edges, all int64.

    Attributes:
        cells: (K,) row * width + column of the grid.
        gradient: (4 K,) mean gradient, in quarter levels: for each cell along x and y in the red
            plane, then in the blue one. A coloured mark may have the luma of its
            background, but hardly both its red and its blue.
        energy: (K,) mean square of the gradient, in levels squared.
        luma: (C,) mean level of each coarse cell, row after row.
        spread: (C,) robust standard deviation of it over time, in quarter levels.
    """

    cells: np.ndarray
    gradient: np.ndarray
    energy: np.ndarray
    luma: np.ndarray
    spread: np.ndarray


def standing_edges(frames: np.ndarray) -> Edges:
    """Measure the standing edges of (N, H, W, 3) uint8 frames."""
    import cv2

    planes = [cv2.split(frame) for frame in frames]
    reds, blues = [red for red, _, _ in planes], [blue for _, _, blue in planes]
    mean, energy = _gradients(reds, blues)
    strength = (mean * mean).sum(axis=0)
    kept = (strength >= MIN_EDGE**2) & (strength >= _MIN_STEADY * energy)
    cells = np.flatnonzero(kept)
    if len(cells) > _MAX_CELLS:
        # the steadiest of the strong ones
        rank = strength.ravel()[cells] ** 2 / energy.ravel()[cells]
        cells = np.sort(cells[np.argpartition(-rank, _MAX_CELLS)[:_MAX_CELLS]])
    coarse = np.stack([_coarse(red) for red in reds]).astype(np.float64)
    low, high = np.quantile(coarse, (0.2, 0.8), axis=0)
    return Edges(
        cells,
        np.rint(UNIT * mean.reshape(4, -1)[:, cells]).T.ravel().astype(np.int64),
        np.rint(energy.ravel()[cells]).astype(np.int64),
        np.rint(coarse.mean(axis=0)).ravel().astype(np.int64),
        np.rint(UNIT * (high - low) / _QUANTILES).ravel().astype(np.int64),
    )


def _gradients(
    reds: Sequence[np.ndarray], blues: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(4, H, W) mean over frames of the gradients of red and blue, and (H, W) their mean energy.

    Exact in 16 bits for up to 682 frames, as gradients are capped at 48: 682 x 48 < 2^15.
    """
    total = np.zeros((4, *reds[0].shape), np.int16)
    energy = np.zeros(reds[0].shape, np.int32)
    slopes = np.zeros_like(total)  # zero on the outermost lines
    squares = np.empty_like(total)
    for red, blue in zip(reds, blues, strict=True):
        for pair, plane in zip((slopes[:2], slopes[2:]), (red, blue), strict=True):
            level = plane.astype(np.int16)
            np.subtract(level[:, 2:], level[:, :-2], out=pair[0][:, 1:-1])
            np.subtract(level[2:], level[:-2], out=pair[1][1:-1])
        np.clip(slopes, -_CAP, _CAP, out=slopes)
        total += slopes
        np.multiply(slopes, slopes, out=squares)
        squares[:2] += squares[2:]
        squares[0] += squares[1]
        energy += squares[0]
    count = np.float32(len(reds))
    return total / count, energy / count


def _coarse(frame: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame.shape
    size = (max(1, width // COARSE), max(1, height // COARSE))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
