"""Summarises the bursts of a clip: one number per feature, which is all that deciding needs."""

from typing import Any

import numpy as np

from wanctl_filters.motion.cells import FLOOR, FLOORS, ZONES, Moving
from wanctl_filters.motion.shake import Shake, relative

_NUMBERS = (
    "camera", "shake", "speed", "compact", "conflict", "lost", "untrusted", "textured",
)  # fmt: skip


def summary(
    moving: Moving | None, shakes: list[Shake], camera: np.ndarray, untrusted: np.ndarray | list
) -> dict[str, Any]:
    """Columns of evidence of one clip.

    `camera`: speed that the camera has in half of the bursts. `shake`: median over the bursts, see
    `shake.relative`; 0 where it is unknown. Of the half of the bursts with more motion: `moving`,
    the share of the frame that is faster than each of FLOORS relative to the camera and not by
    parallax; `zones`, that share in each of ZONES, in percent; `speed` of what moves. Over all
    bursts, weighted by that share: `compact` and `conflict`. `lost`: share of the frame whose flow
    is inconsistent, in the median burst. `untrusted`: share of the pairs without a trusted camera
    model. `textured`: share of the frame whose motion can be measured.

    Args:
        moving: what moves in each burst; None without bursts.
        shakes: of each burst.
        camera: (B,) its speed in each burst.
        untrusted: (N,) bool of each pair.
    """
    if moving is None:
        empty = {"moving": [0.0] * len(FLOORS), "zones": [0] * (ZONES[0] * ZONES[1])}
        return dict.fromkeys(_NUMBERS, 0.0) | empty
    area = moving.areas[:, FLOOR]
    known = [relative(each) for each in shakes if each.shake >= 0]
    numbers = {
        "camera": np.sort(camera)[::-1][(len(camera) - 1) // 2],
        "shake": np.median(known) if known else 0.0,
        "speed": _upper_half(moving.speed),
        "compact": _pooled(moving.compact, area),
        "conflict": _pooled(moving.conflict, area),
        "lost": np.median(moving.lost),
        "untrusted": np.mean(untrusted),
        "textured": moving.textured.mean(),
    }
    rounded: dict[str, Any] = {name: round(float(each), 5) for name, each in numbers.items()}
    rounded["moving"] = [round(float(each), 5) for each in _upper_half(moving.areas)]
    half = np.argsort(-area, kind="stable")[: (len(area) + 1) // 2]
    rounded["zones"] = [round(100 * float(each)) for each in moving.zones[half].mean(axis=0)]
    return rounded


def _upper_half(values: np.ndarray) -> np.ndarray:
    """Mean over the larger half of (B, ...) values."""
    return np.sort(values, axis=0)[::-1][: (len(values) + 1) // 2].mean(axis=0)


def _pooled(values: np.ndarray, weights: np.ndarray) -> float:
    return float((values * weights).sum() / max(weights.sum(), 1e-9))
