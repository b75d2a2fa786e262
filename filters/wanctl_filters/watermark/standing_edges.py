"""Measures edges that stand still in moving footage: candidates for overlaid marks.

A mark's gradient is the same in every frame while the rest of the frame changes. A clip is reduced
to the few cells whose mean gradient is strong and steady; those of many shots can then be combined
without decoding frames again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanctl_filters.watermark.edge_maps import EdgeMaps

COARSE = 8  # cells of the grid per cell of the map of movement
_MIN_STEADY = 0.3  # of a single clip's cells that are kept
_MAX_CELLS = 4000
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


def standing_edges(reds: np.ndarray, maps: EdgeMaps) -> Edges:
    """Reduce a clip to the cells that stand still.

    Args:
        reds: (N, H, W) uint8, the red plane of its frames.
        maps: of these frames.
    """
    cells = maps.strong(_MIN_STEADY)
    if len(cells) > _MAX_CELLS:
        # the steadiest of the strong and sharp ones, as the edges of graphics are both
        rank = np.sqrt(maps.strength.ravel()[cells] * maps.curvature(cells))
        rank *= maps.steadiness.ravel()[cells]
        cells = np.sort(cells[np.argpartition(-rank, _MAX_CELLS)[:_MAX_CELLS]])
    coarse = coarse_levels(reds)
    low, high = _quantiles(coarse, (0.2, 0.8))
    return Edges(
        cells,
        np.rint(UNIT * maps.gradient.reshape(4, -1)[:, cells]).T.ravel().astype(np.int64),
        np.rint(maps.energy.ravel()[cells]).astype(np.int64),
        np.rint(coarse.mean(axis=0)).ravel().astype(np.int64),
        np.rint(UNIT * (high - low) / _QUANTILES).ravel().astype(np.int64),
    )


def pooled_maps(scenes: Sequence[Edges], grid: tuple[int, int], edges: int) -> EdgeMaps:
    """The maps of all scenes together: what they have in common keeps its gradient.

    Args:
        scenes: standing edges of one clip of each scene.
        grid: width and height.
        edges: number of cells with an edge in a frame, for `EdgeMaps.edges`.
    """
    width, height = grid
    count = width * height
    cells = np.concatenate([scene.cells for scene in scenes])
    gradient = np.concatenate([scene.gradient for scene in scenes]).reshape(-1, 4) / UNIT
    energy = np.concatenate([scene.energy for scene in scenes])

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(cells, values, minlength=count).reshape(height, width) / len(scenes)

    return EdgeMaps(np.stack([mean(column) for column in gradient.T]), mean(energy), edges)


def cells_in_common(scenes: Sequence[Edges], share: float) -> int:
    """Number of cells that at least this share of the scenes have.

    A cell that k of n scenes have is at most k / n steady in `pooled_maps`: the square of a mean of
    k vectors, of which none has more energy than its scene, is at most k / n of the mean energy.
    """
    counts = np.bincount(np.concatenate([scene.cells for scene in scenes]))
    return int((counts >= share * len(scenes)).sum())


def coarse_levels(planes: np.ndarray) -> np.ndarray:
    """(N, h, w) uint8 means of the squares of `COARSE` cells in (N, H, W) uint8 planes.

    What is left over at the right and at the bottom does not count: squares of whole cells are
    averaged ten times as fast.
    """
    import cv2

    _, height, width = planes.shape
    size = (max(1, width // COARSE), max(1, height // COARSE))
    parts = planes[:, : COARSE * size[1], : COARSE * size[0]]
    return np.stack([cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts])


def _quantiles(levels: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Quantiles over the first axis of (N, h, w) uint8, between the nearest two values."""
    ordered = np.sort(levels.reshape(len(levels), -1).T, axis=1).T.astype(np.float64)
    result = []
    for share in shares:
        place = share * (len(levels) - 1)
        first = int(place)
        low, high = ordered[first], ordered[min(first + 1, len(levels) - 1)]
        result.append((low + (place - first) * (high - low)).reshape(levels.shape[1:]))
    return result
