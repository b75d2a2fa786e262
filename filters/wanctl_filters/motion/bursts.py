"""The measurements of the motion filter: camera motion per pair, grids of residual motion."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from wanctl_filters.motion.camera_path import Points, fit, residuals, texture
from wanctl_filters.motion.flow import at_points, flow, inconsistent_share
from wanctl_filters.motion.frame_bursts import Burst, distinct, split_bursts
from wanctl_filters.motion.relative_motion import Explained, explain, off_epipolar
from wanctl_filters.motion.shake import Shake, shake_of

GRID = 12
"""Cells along the long side of the grids in the evidence."""
SPEED_UNIT = 1e-3
"""Unit of the grids of speeds, in long sides per second."""
UNKNOWN = -32768
TRUSTED = 0.5
"""Share of points that have to follow the camera model; with fewer (a cut, a flash, a crowd) the
camera motion of a pair is unknown."""

STEP_S = 0.12
"""Seconds between the frames of a pair: something that moves 3 % of the frame in a second moves by
0.7 pixels of 192, and the noise of flow is 0.2."""

_MAX_PAIRS = 6  # of a burst
_TEXTURE_EVERY = 6  # pairs
_MIN_TEXTURE = 0.5  # texture from which motion can be measured


class _Pair(NamedTuple):
    burst: int
    time_s: float
    gap_s: float
    frames: tuple[int, int]
    flow: np.ndarray
    texture: np.ndarray
    lost: np.ndarray


def measure_bursts(
    frames: np.ndarray, times_s: np.ndarray, *, gap_s: float, burst: int
) -> dict[str, Any]:
    """Columns of evidence from (N, H, W) uint8 frames.

    Per pair of frames about `STEP_S` apart: displacement of the frame's centre (`pan` right and
    `tilt` down, in long sides), growth (`zoom`), rotation (`roll`, radians) and the share of points
    that follow the camera model (`trust`). Per burst and cell: speed relative to the camera,
    `across` and `down` (UNKNOWN where there is no texture, 0 where flow explains nothing), the part
    of it that cannot be parallax (`apart`), and the share of pixels whose flow is inconsistent
    (`lost`), in percent. Per burst: `shake` and `drift` of the camera, see `Shake`.
    """
    points = Points.of(*frames.shape[1:])
    bursts = [distinct(frames, times_s, part) for part in split_bursts(times_s, gap_s, burst)]
    pairs = [pair for n, part in enumerate(bursts) for pair in _pairs(n, frames, part)]
    cells = _Cells.of(points)
    if not pairs:
        return _columns([], np.zeros((0, 8)), np.zeros(0), cells, []) | _shakes(frames, [])
    field = np.stack([at_points(pair.flow, points) for pair in pairs])
    weight = np.stack([pair.texture for pair in pairs])
    model, trust = fit(field, weight, points)
    residual = residuals(model, field, points)
    seen = [
        explain(frames[pair.frames[0]], frames[pair.frames[1]], pair.flow, each, points)
        for pair, each in zip(pairs, model, strict=True)
    ]
    grids = []
    for number in range(len(bursts)):
        own = [index for index, pair in enumerate(pairs) if pair.burst == number]
        part = [pairs[i] for i in own]
        grids.append(_grids(part, residual[own], [seen[i] for i in own], trust[own], cells))
    return _columns(pairs, model, trust, cells, grids) | _shakes(frames, bursts)


def _pairs(number: int, frames: np.ndarray, part: Burst) -> list[_Pair]:
    """The pairs of a burst that give the motion relative to the camera."""
    points = Points.of(*frames.shape[1:])
    index, times = part.frames, part.times_s
    textured = texture(frames[index[0]], points)
    if len(index) == 1:
        still = np.zeros((*frames.shape[1:], 2), np.float32)
        pair = (int(index[0]), int(index[0]))
        none = np.zeros(len(points.x))
        return [_Pair(number, float(times[0]), part.length_s, pair, still, textured, none)]
    middle = _usual_pair(frames[index])
    first, second = frames[index[middle]], frames[index[middle + 1]]
    lost = inconsistent_share(flow(first, second), flow(second, first), points)
    step = max(1, round(STEP_S * (len(index) - 1) / part.length_s))
    starts = np.arange(0, max(1, len(index) - step), step)
    if len(starts) > _MAX_PAIRS:
        starts = starts[np.linspace(0, len(starts) - 1, _MAX_PAIRS).round().astype(int)]
    pairs = []
    for start in starts:
        end = min(start + step, len(index) - 1)
        pair = int(index[start]), int(index[end])
        moved = flow(frames[pair[0]], frames[pair[1]])
        gap = float(times[end] - times[start])
        pairs.append(_Pair(number, float(times[start]), gap, pair, moved, textured, lost))
    return pairs


def _shakes(frames: np.ndarray, bursts: list[Burst]) -> dict[str, list[float]]:
    """The camera's shake in each burst, from neighbouring frames."""
    points = Points.of(*frames.shape[1:])
    found = []
    for part in bursts:
        pairs = list(pairwise(part.frames))
        if not pairs:
            found.append(Shake(0.0, 0.0))
            continue
        field = np.stack(
            [at_points(flow(frames[a], frames[b], coarse=True), points) for a, b in pairs]
        )
        # what has texture changes slowly
        textured = [texture(frames[a], points) for a, _ in pairs[::_TEXTURE_EVERY]]
        weight = np.repeat(textured, _TEXTURE_EVERY, axis=0)[: len(pairs)]
        found.append(shake_of(*fit(field, weight, points, rigid=True), part.times_s))
    return {name: [round(float(getattr(s, name)), 5) for s in found] for name in Shake._fields}


def _usual_pair(frames: np.ndarray) -> int:
    """Index of the pair with the median difference: neither a cut nor a flash."""
    import cv2

    change = [cv2.norm(*pair, cv2.NORM_L1) for pair in pairwise(frames)]
    return int(np.argsort(change, kind="stable")[(len(change) - 1) // 2])


class _Cells(NamedTuple):
    """The cell of the evidence's grid that contains each point."""

    shape: tuple[int, int]
    of_point: np.ndarray
    points: Points

    @classmethod
    def of(cls, points: Points) -> "_Cells":
        rows, columns = points.shape
        cell = max(rows, columns) / GRID
        shape = max(1, round(rows / cell)), max(1, round(columns / cell))
        y = np.arange(rows) * shape[0] // rows
        x = np.arange(columns) * shape[1] // columns
        return cls(shape, (y[:, None] * shape[1] + x).ravel(), points)

    def mean(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted means of the cells, and the sum of weights of each."""
        size = self.shape[0] * self.shape[1]
        sums = np.bincount(self.of_point, weight, size)
        return np.bincount(self.of_point, weight * values, size) / np.maximum(sums, 1e-9), sums


class _Grid(NamedTuple):
    """One value per cell: speeds in SPEED_UNIT, and percent."""

    across: np.ndarray
    down: np.ndarray
    apart: np.ndarray
    lost: np.ndarray


def _grids(
    pairs: list[_Pair],
    residual: np.ndarray,
    seen: list[Explained],
    trust: np.ndarray,
    cells: _Cells,
) -> _Grid:
    gaps = np.array([max(pair.gap_s, 1e-6) for pair in pairs])
    usable = trust >= TRUSTED
    if not usable.any():
        usable[:] = True
    velocities = residual[usable] / gaps[usable, None, None]
    lost_share = pairs[0].lost
    real = np.stack([each.moves for each in seen])
    overlaid = np.mean([each.stays for each in seen], axis=0) > 0.5
    usual = (pairs[0].texture >= _MIN_TEXTURE) & (lost_share < 0.5) & ~overlaid
    textured = usual.astype(float)

    def of_cells(velocity: np.ndarray) -> np.ndarray:
        return np.stack([cells.mean(velocity[:, axis], textured)[0] for axis in (0, 1)], axis=1)

    known = cells.mean(textured, textured)[1]
    ones = np.ones_like(textured)
    x, y = (cells.mean(each, ones)[0] for each in (cells.points.x, cells.points.y))
    apart = off_epipolar(of_cells(velocities.mean(axis=0)), (known >= 0.5).astype(float), x, y)
    velocity = of_cells((velocities * real[usable, :, None]).mean(axis=0))
    apart = np.minimum(apart, np.hypot(*velocity.T))
    losses, _ = cells.mean(lost_share, ones)
    limit = -UNKNOWN - 1
    moves = [
        np.clip(np.round(each / SPEED_UNIT), -limit, limit).astype(int)
        for each in (*velocity.T, apart)
    ]
    for each in moves:
        each[known < 0.5] = UNKNOWN
    return _Grid(moves[0], moves[1], moves[2], np.round(100 * losses).astype(int))


def _columns(
    pairs: list[_Pair],
    model: np.ndarray,
    trust: np.ndarray,
    cells: _Cells,
    grids: list[_Grid],
) -> dict[str, Any]:
    counts = np.bincount([pair.burst for pair in pairs]) if pairs else np.zeros(0, int)
    cell_columns = {
        name: [int(cell) for grid in grids for cell in getattr(grid, name)]
        for name in _Grid._fields
    }
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
        **cell_columns,
    }


def _rounded(values: np.ndarray) -> list[float]:
    # a pixel of a 192-pixel frame is 0.005
    return [round(float(value), 6) + 0.0 for value in values]
