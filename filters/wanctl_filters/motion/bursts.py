"""The measurements of the motion filter: camera motion per pair, grids of residual motion."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from wanctl_filters.motion.camera_path import Points, fit, residuals, texture
from wanctl_filters.motion.flow import at_points, flow, inconsistent_share
from wanctl_filters.motion.frame_bursts import distinct, split_bursts

GRID = 12
"""Cells along the long side of the grids in the evidence."""
SPEED_UNIT = 1e-3
"""Unit of the grids of speeds, in long sides per second."""
UNKNOWN = -32768
TRUSTED = 0.5
"""Share of points that have to follow the camera model; with fewer (a cut, a flash, a crowd) the
camera motion of a pair is unknown."""

_MIN_TEXTURE = 0.5  # texture from which motion can be measured


class _Pair(NamedTuple):
    burst: int
    time_s: float
    gap_s: float
    flow: np.ndarray
    texture: np.ndarray
    lost: np.ndarray | None


def measure_bursts(frames: np.ndarray, times_s: np.ndarray, gap_s: float) -> dict[str, Any]:
    """Columns of evidence from (N, H, W) uint8 frames.

    Per pair of neighbours: displacement of the frame's centre (`pan` right and `tilt` down, in
    long sides), growth (`zoom`), rotation (`roll`, radians) and the share of points that follow
    the camera model (`trust`). Per burst and cell: speed relative to the camera, `across` and
    `down` (UNKNOWN where there is no texture), and the share of pixels whose flow is inconsistent
    (`lost`), in percent.
    """
    points = Points.of(*frames.shape[1:])
    bursts = split_bursts(times_s, gap_s)
    pairs = [pair for n, part in enumerate(bursts) for pair in _pairs(n, part, frames, times_s)]
    cells = _Cells.of(points)
    if not pairs:
        return _columns([], np.zeros((0, 8)), np.zeros(0), cells, [])
    field = np.stack([pair.flow for pair in pairs])
    weight = np.stack([pair.texture for pair in pairs])
    model, trust = fit(field, weight, points)
    residual = residuals(model, field, points)
    grids = []
    for number in range(len(bursts)):
        own = [index for index, pair in enumerate(pairs) if pair.burst == number]
        grids.append(_grids([pairs[i] for i in own], residual[own], trust[own], cells))
    return _columns(pairs, model, trust, cells, grids)


def _pairs(number: int, part: np.ndarray, frames: np.ndarray, times_s: np.ndarray) -> list[_Pair]:
    points = Points.of(*frames.shape[1:])
    chosen, times = distinct(frames[part], times_s[part])
    distinct_frames = frames[part][chosen]
    textured = texture(distinct_frames[0], points)
    if len(distinct_frames) == 1:
        still = np.zeros((len(points.x), 2))
        length_s = float(times_s[part[-1]] - times_s[part[0]])
        return [_Pair(number, float(times[0]), length_s, still, textured, np.zeros(len(still)))]
    pairs = []
    middle = _usual_pair(distinct_frames)
    for index in range(len(distinct_frames) - 1):
        first, second = distinct_frames[index], distinct_frames[index + 1]
        forward = flow(first, second)
        lost = None
        if index == middle:
            lost = inconsistent_share(forward, flow(second, first), points)
        gap = float(times[index + 1] - times[index])
        moved = at_points(forward, points)
        pairs.append(_Pair(number, float(times[index]), gap, moved, textured, lost))
    return pairs


def _usual_pair(frames: np.ndarray) -> int:
    """Index of the pair with the median difference: neither a cut nor a flash."""
    import cv2

    change = [cv2.norm(*pair, cv2.NORM_L1) for pair in pairwise(frames)]
    return int(np.argsort(change, kind="stable")[(len(change) - 1) // 2])


class _Cells(NamedTuple):
    """The cell of the evidence's grid that contains each point."""

    shape: tuple[int, int]
    of_point: np.ndarray
    points: tuple[int, int]

    @classmethod
    def of(cls, points: Points) -> "_Cells":
        rows, columns = points.shape
        cell = max(rows, columns) / GRID
        shape = max(1, round(rows / cell)), max(1, round(columns / cell))
        y = np.arange(rows) * shape[0] // rows
        x = np.arange(columns) * shape[1] // columns
        return cls(shape, (y[:, None] * shape[1] + x).ravel(), points.shape)

    def mean(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted means of the cells, and the sum of weights of each."""
        size = self.shape[0] * self.shape[1]
        sums = np.bincount(self.of_point, weight, size)
        return np.bincount(self.of_point, weight * values, size) / np.maximum(sums, 1e-9), sums


def _grids(
    pairs: list[_Pair], residual: np.ndarray, trust: np.ndarray, cells: _Cells
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gaps = np.array([max(pair.gap_s, 1e-6) for pair in pairs])
    usable = trust >= TRUSTED
    if not usable.any():
        usable[:] = True
    velocity = (residual[usable] / gaps[usable, None, None]).mean(axis=0)
    lost_share = next(pair.lost for pair in pairs if pair.lost is not None)
    textured = ((pairs[0].texture >= _MIN_TEXTURE) & (lost_share < 0.5)).astype(float)
    across, known = cells.mean(velocity[:, 0], textured)
    down, _ = cells.mean(velocity[:, 1], textured)
    losses, _ = cells.mean(lost_share, np.ones_like(textured))
    limit = -UNKNOWN - 1
    moves = [np.clip(np.round(v / SPEED_UNIT), -limit, limit).astype(int) for v in (across, down)]
    for each in moves:
        each[known < 0.5] = UNKNOWN
    return moves[0], moves[1], np.round(100 * losses).astype(int)


def _columns(
    pairs: list[_Pair],
    model: np.ndarray,
    trust: np.ndarray,
    cells: _Cells,
    grids: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> dict[str, Any]:
    counts = np.bincount([pair.burst for pair in pairs]) if pairs else np.zeros(0, int)
    across, down, lost = ([int(cell) for grid in grids for cell in grid[kind]] for kind in range(3))
    return {
        "pairs": counts.tolist(),
        "time_s": [round(pair.time_s, 4) for pair in pairs],
        "gap_s": [round(pair.gap_s, 5) for pair in pairs],
        "pan": _rounded(model[:, 0]),
        "tilt": _rounded(model[:, 3]),
        "zoom": _rounded((model[:, 1] + model[:, 5]) / 2),
        "roll": _rounded((model[:, 4] - model[:, 2]) / 2),
        "trust": [round(float(each), 3) for each in trust],
        "columns": cells.shape[1],
        "across": across,
        "down": down,
        "lost": lost,
    }


def _rounded(values: np.ndarray) -> list[float]:
    # a pixel of a 192-pixel frame is 0.005
    return [round(float(value), 6) + 0.0 for value in values]
