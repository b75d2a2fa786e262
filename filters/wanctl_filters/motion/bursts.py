"""The measurements of the motion filter: the camera's motion per pair of frames, and a summary."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from wanctl_filters.motion.camera_path import Points, fit, residuals, texture
from wanctl_filters.motion.cells import Cells, Residual, describe
from wanctl_filters.motion.flow import at_points, flow, inconsistent_share
from wanctl_filters.motion.frame_bursts import Burst, distinct, split_bursts
from wanctl_filters.motion.relative_motion import Explained, explain
from wanctl_filters.motion.shake import ARM, shakes
from wanctl_filters.motion.summary import summary

TRUSTED = 0.5
"""Share of points that have to follow the camera model; with fewer (a cut, a flash, a crowd) the
camera motion of a pair is unknown."""

STEP_S = 0.12
"""Seconds between the frames of a pair: something that moves 3 % of the frame in a second moves by
0.9 pixels of 256, and the noise of flow is 0.2."""

_MAX_PAIRS = 6  # of a burst
_MIN_TEXTURE = 0.5  # texture from which motion can be measured
# Flow that follows a camera in nearly all of the frame is consistent; elsewhere it is checked.
_CONSISTENT = 0.9


class _Pair(NamedTuple):
    burst: int
    time_s: float
    gap_s: float
    frames: tuple[int, int]
    flow: np.ndarray


def measure_bursts(
    frames: np.ndarray, times_s: np.ndarray, *, gap_s: float, burst: int, parallax: float
) -> dict[str, Any]:
    """Columns of evidence from (N, H, W) uint8 frames.

    Of frames about `STEP_S` apart, as means over each half of a burst: displacement of the frame's
    centre (`pan` right and `tilt` down, in long sides) in `gap_s`, growth (`zoom`), rotation
    (`roll`, radians) and the share of points that follow the camera model (`trust`); `pairs` says
    how many of these means each burst has. For the clip: see `summary`.
    """
    points = Points.of(*frames.shape[1:])
    cells = Cells.of(points, *frames.shape[1:])
    bursts = [distinct(frames, times_s, part) for part in split_bursts(times_s, gap_s, burst)]
    if not bursts:
        return _columns([], np.zeros((0, 8)), np.zeros(0)) | summary(None, [], np.zeros(0), [])
    textured = np.stack([texture(frames[part.frames[0]], points) for part in bursts])
    found = shakes(frames, bursts, textured, points)
    pairs = [pair for n, part in enumerate(bursts) for pair in _pairs(n, frames, part)]
    owner = np.array([pair.burst for pair in pairs])
    field = np.stack([at_points(pair.flow, points) for pair in pairs])
    model, trust = fit(field, textured[owner], points)
    gaps = np.array([max(pair.gap_s, 1e-6) for pair in pairs])
    velocity = residuals(model, field, points).transpose(0, 2, 1) / gaps[:, None, None]
    camera = _camera(model / gaps[:, None], trust, owner, len(bursts))
    lost = np.stack([
        _lost(frames[part.frames], points) if _is_doubtful(trust[owner == n]) else 0 * textured[n]
        for n, part in enumerate(bursts)
    ])  # fmt: skip
    seen = [
        explain(frames[pair.frames[0]], frames[pair.frames[1]], pair.flow, each, points)
        for pair, each in zip(pairs, model, strict=True)
    ]
    residual = _residual(seen, owner, velocity, trust, textured, lost, camera)
    moving = describe(residual, cells, parallax)
    return _columns(pairs, model, trust) | summary(moving, found, camera, trust < TRUSTED)


def _pairs(number: int, frames: np.ndarray, part: Burst) -> list[_Pair]:
    """The pairs of a burst that give the motion relative to the camera."""
    index, times = part.frames, part.times_s
    if len(index) == 1:
        still = np.zeros((*frames.shape[1:], 2), np.float32)
        pair = (int(index[0]), int(index[0]))
        return [_Pair(number, float(times[0]), part.length_s, pair, still)]
    step = max(1, round(STEP_S * (len(index) - 1) / part.length_s))
    starts = np.arange(0, max(1, len(index) - step), step)
    if len(starts) > _MAX_PAIRS:
        starts = starts[np.linspace(0, len(starts) - 1, _MAX_PAIRS).round().astype(int)]
    pairs = []
    for start in starts:
        end = min(start + step, len(index) - 1)
        pair = int(index[start]), int(index[end])
        moved = flow(frames[pair[0]], frames[pair[1]])
        pairs.append(
            _Pair(number, float(times[start]), float(times[end] - times[start]), pair, moved)
        )
    return pairs


def _camera(velocity: np.ndarray, trust: np.ndarray, owner: np.ndarray, bursts: int) -> np.ndarray:
    """(B,) speed of the camera's mean motion over the trusted pairs; 0 where it is unknown."""
    pan, tilt = velocity[:, 0], velocity[:, 3]
    zoom, roll = (velocity[:, 1] + velocity[:, 5]) / 2, (velocity[:, 4] - velocity[:, 2]) / 2
    known = (trust >= TRUSTED).astype(float)
    counts = np.maximum(np.bincount(owner, known, bursts), 1)
    parts = (pan, tilt, ARM * zoom, ARM * roll)
    means = [np.bincount(owner, known * part, bursts) / counts for part in parts]
    return np.sqrt(np.square(means).sum(axis=0))


def _is_doubtful(trust: np.ndarray) -> bool:
    return bool(np.median(trust) < _CONSISTENT)


def _lost(frames: np.ndarray, points: Points) -> np.ndarray:
    """(P,) share of pixels with inconsistent flow, between two usual neighbours of a burst."""
    import cv2

    if len(frames) == 1:
        return np.zeros(len(points.x))
    change = [cv2.norm(*pair, cv2.NORM_L1) for pair in pairwise(frames)]
    # the median difference: neither a cut nor a flash
    usual = int(np.argsort(change, kind="stable")[(len(change) - 1) // 2])
    first, second = frames[usual], frames[usual + 1]
    return inconsistent_share(flow(first, second), flow(second, first), points)


def _residual(
    seen: list[Explained],
    owner: np.ndarray,
    velocity: np.ndarray,
    trust: np.ndarray,
    textured: np.ndarray,
    lost: np.ndarray,
    camera: np.ndarray,
) -> Residual:
    """Means over the trusted pairs of each burst; over all pairs where none is trusted."""
    real, overlaid = (np.stack(part) for part in zip(*seen, strict=True))
    whole, explained, usable = [], [], []
    for number in range(len(textured)):
        own = owner == number
        used = own & (trust >= TRUSTED)
        used = used if used.any() else own
        whole.append(velocity[used].mean(axis=0))
        explained.append((velocity[used] * real[used, None]).mean(axis=0))
        usable.append(overlaid[own].mean(axis=0) <= 0.5)
    plain = (textured >= _MIN_TEXTURE) & (lost < 0.5)
    return Residual(np.stack(whole), np.stack(explained), plain & np.stack(usable), lost, camera)


def _columns(pairs: list[_Pair], model: np.ndarray, trust: np.ndarray) -> dict[str, Any]:
    """The camera's path, as means over the pairs of each half of a burst."""
    halves: list[list[int]] = []
    counts = []
    for number in range(pairs[-1].burst + 1 if pairs else 0):
        own = [index for index, pair in enumerate(pairs) if pair.burst == number]
        parts = [part for part in (own[: len(own) // 2], own[len(own) // 2 :]) if part]
        halves += parts
        counts.append(len(parts))
    mean = np.zeros((len(halves), 8))
    for row, part in enumerate(halves):
        # untrusted models are noise; they count where there is nothing else
        known = [index for index in part if trust[index] >= TRUSTED] or part
        mean[row] = model[known].mean(axis=0)
    return {
        "pairs": counts,
        "time_s": [round(pairs[part[0]].time_s, 4) for part in halves],
        "gap_s": [round(float(np.mean([pairs[i].gap_s for i in part])), 5) for part in halves],
        "pan": _rounded(mean[:, 0]),
        "tilt": _rounded(mean[:, 3]),
        "zoom": _rounded((mean[:, 1] + mean[:, 5]) / 2),
        "roll": _rounded((mean[:, 4] - mean[:, 2]) / 2),
        "trust": [round(float(np.mean(trust[part])), 3) for part in halves],
    }


def _rounded(values: np.ndarray) -> list[float]:
    # a pixel of a 256-pixel frame is 0.004
    return [round(float(value), 6) + 0.0 for value in values]
