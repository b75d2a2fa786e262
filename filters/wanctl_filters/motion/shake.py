"""Shake of the camera in a burst: what is left of its path without the smooth part."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from wanctl_filters.motion.camera_path import Points, fit
from wanctl_filters.motion.flow import at_points, flow
from wanctl_filters.motion.frame_bursts import Burst

ARM = 0.3
"""Roll moves the corners and not the centre; this is the radius at which it is counted."""
KNOWN = 0.35
"""Share of points that have to follow the camera model of two neighbouring frames. Unrelated frames
(a cut) reach 0.34 in one of twenty cases, and 0.21 in the median."""

# Shake is more visible while the camera stands: up to the first drift the bound is this share of
# the bound from the second on; long sides per second.
_DRIFTS, _AT_REST = (0.01, 0.02), 0.4
# Frames of half the size give flow at a quarter of the time. It overstates shake rather than
# missing it, so it settles bursts of steady cameras; those above this are measured again.
_SURE = 2.0
# Where half of the textured blocks change by less, in levels, shake is below 0.25 (a fifth of what
# is visible) in 99 % of 170 bursts of real footage; no flow is needed.
_STILL = 1.5

_MIN_PAIRS = 5
_MIN_SHARE = 0.5  # of the pairs of a burst
_KEPT = 0.85  # the largest accelerations are excluded: a stutter, or a pair that was fitted badly


class Shake(NamedTuple):
    """The camera's path in one burst; -1 where it is unknown.

    Attributes:
        shake: RMS acceleration of the path without its smooth part, long sides per second squared.
        drift: speed along the smooth path, long sides per second.
    """

    shake: float
    drift: float


UNKNOWN_SHAKE = Shake(-1.0, -1.0)
STILL = Shake(0.0, 0.0)


def relative(shake: Shake) -> float:
    """Shake as it looks: more where the camera stands."""
    return shake.shake / float(np.interp(shake.drift, _DRIFTS, (_AT_REST, 1.0)))


def shakes(
    frames: np.ndarray, bursts: list[Burst], textured: np.ndarray, points: Points
) -> list[Shake]:
    """The camera's shake in each burst, from neighbouring frames.

    Args:
        frames: (N, H, W) uint8.
        bursts: their distinct frames.
        textured: (B, P) texture at the start of each burst, which changes slowly.
        points: the positions of the texture.
    """
    import cv2

    height, width = (max(1, side // 2) for side in frames.shape[1:])
    found = [STILL] * len(bursts)
    moves = [n for n, part in enumerate(bursts) if not _is_still(part, textured[n])]
    if not moves:
        return found
    used = np.unique(np.concatenate([bursts[n].frames for n in moves]))
    small = {i: cv2.resize(frames[i], (width, height), interpolation=cv2.INTER_AREA) for i in used}
    few = Points.of(height, width)
    rows, columns = few.shape
    coarse = np.stack([
        cv2.resize(textured[n].reshape(points.shape), (columns, rows), interpolation=cv2.INTER_AREA)
        for n in moves
    ]).reshape(len(moves), -1)  # fmt: skip
    by_half = _shakes(small, [bursts[n] for n in moves], coarse, few)
    for number, each in zip(moves, by_half, strict=True):
        found[number] = each
    doubtful = [n for n, each in enumerate(found) if each.shake < 0 or relative(each) > _SURE]
    if doubtful:
        again = _shakes(frames, [bursts[n] for n in doubtful], textured[doubtful], points)
        for number, each in zip(doubtful, again, strict=True):
            found[number] = each
    return found


def _is_still(part: Burst, textured: np.ndarray) -> bool:
    change = part.change[textured >= 0.5]
    return len(change) > 0 and bool(np.median(change) < _STILL)


def _shakes(
    frames: Mapping[int, np.ndarray] | np.ndarray,
    bursts: list[Burst],
    textured: np.ndarray,
    points: Points,
) -> list[Shake]:
    pairs = [(n, *pair) for n, part in enumerate(bursts) for pair in pairwise(part.frames)]
    if not pairs:
        return [STILL] * len(bursts)
    field = np.stack(
        [at_points(flow(frames[a], frames[b], coarse=True), points) for _, a, b in pairs]
    )
    owner = np.array([n for n, _, _ in pairs])
    model, trust = fit(field, textured[owner], points, rigid=True)
    return [
        shake_of(model[own], trust[own], part.times_s) if own.any() else STILL
        for n, part in enumerate(bursts)
        for own in [owner == n]
    ]


def shake_of(model: np.ndarray, trust: np.ndarray, times_s: np.ndarray) -> Shake:
    """Shake from the (N, 8) camera models of N consecutive pairs at N + 1 times.

    The smooth part is motion at a constant acceleration, which is what a pan, the start of one, or
    a travelling camera is within a second. Zoom does not count: hands do not zoom, and noise of
    the fit looks most like zoom.
    """
    known = trust >= KNOWN
    if known.sum() < _MIN_PAIRS or known.mean() < _MIN_SHARE:
        return UNKNOWN_SHAKE
    gap = np.maximum(np.diff(times_s), 1e-6)
    path = np.stack([model[:, 0], model[:, 3], ARM * (model[:, 4] - model[:, 2]) / 2], axis=1)
    velocity = path / gap[:, None]
    middle = (times_s[1:] + times_s[:-1]) / 2 - times_s.mean()
    line = np.stack([np.ones_like(middle), middle], axis=1)
    weight = np.linalg.lstsq(line[known], velocity[known], rcond=None)[0]
    rest = np.where(known[:, None], velocity - line @ weight, 0.0)
    both = known[1:] & known[:-1]
    step_s = (gap[1:] + gap[:-1]) / 2
    power = (((rest[1:] - rest[:-1]) / step_s[:, None]) ** 2).sum(axis=1)[both]
    if not len(power):
        return UNKNOWN_SHAKE
    power = np.sort(power)[: max(1, round(_KEPT * len(power)))]
    return Shake(float(np.sqrt(power.mean())), float(np.hypot(*weight[0, :2])))
