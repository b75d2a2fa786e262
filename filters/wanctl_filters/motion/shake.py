"""Shake of the camera in a burst: what is left of its path without the smooth part."""

from typing import NamedTuple

import numpy as np

ARM = 0.3
"""Roll moves the corners and not the centre; this is the radius at which it is counted."""
KNOWN = 0.35
"""Share of points that have to follow the camera model of two neighbouring frames. Unrelated frames
(a cut) reach 0.34 in one of twenty cases, and 0.21 in the median."""

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
