"""Derives features and the six tiers from the motion filter's evidence, for many clips at once."""

from dataclasses import dataclass

import numpy as np

from wanctl.curate.api import ClipBatch, Ragged
from wanctl_filters.motion.cells import FLOORS, ZONES

TIERS = ("optimal", "medium", "static", "camera", "low_quality", "shaky")

# Scattered cells count this much: the error of parallax is scattered, and a subject is compact.
_SCATTERED = 0.6
# In a crowd this share of the frame moves, and this share of the pairs has no background.
_FULL, _NO_CAMERA = 0.6, 0.9


@dataclass(frozen=True)
class Features:
    """One number per clip each; speeds in long sides per second.

    Attributes:
        camera: speed that the camera has in half of the clip.
        shake: its acceleration without the smooth part of its path, per second squared.
        area: share of the view that moves relative to the camera and not by parallax.
        speed: speed of the part that moves.
        compact: compactness of that part; 1 for a disk, less where it is spread over the frame.
        conflict: disagreement of motion between neighbouring cells, 0 to 1.
        lost: share of the frame whose flow is inconsistent, in the median burst.
        untrusted: share of the pairs without a trusted camera model.
    """

    camera: np.ndarray
    shake: np.ndarray
    area: np.ndarray
    speed: np.ndarray
    compact: np.ndarray
    conflict: np.ndarray
    lost: np.ndarray
    untrusted: np.ndarray

    def summary(self, row: int) -> str:
        """The features of one clip as text, for a reason."""
        return (
            f"camera {self.camera[row]:.1%}/s, shake {self.shake[row]:.2f}/s2, "
            f"{self.area[row]:.1%} of the frame moves at {self.speed[row]:.1%}/s, "
            f"conflict {self.conflict[row]:.2f}, lost {self.lost[row]:.0%}"
        )


def sort_into_tiers(
    features: Features,
    *,
    camera_speed: float,
    min_area: float,
    clear_area: float,
    min_compact: float,
    max_shake: float,
    max_conflict: float,
    max_lost: float,
) -> np.ndarray:
    """(N,) indices into TIERS."""
    shaky = features.shake > max_shake
    full = features.area >= _FULL
    messy = features.lost > max_lost
    messy |= full & ((features.conflict > max_conflict) | (features.untrusted > _NO_CAMERA))
    panning = features.camera > camera_speed
    moving = features.area * (_SCATTERED + features.compact) >= min_area
    clear = (features.area >= clear_area) & (features.compact >= min_compact)
    return np.select(
        [shaky, messy, ~moving & ~panning, ~moving, clear],
        [TIERS.index(n) for n in ("shaky", "low_quality", "static", "camera", "optimal")],
        TIERS.index("medium"),
    )


def features(batch: ClipBatch, *, moving_speed: float) -> Features:
    """Features of each clip; the moving area is that inside its view."""
    names = ("camera", "shake", "speed", "compact", "conflict", "lost", "untrusted")
    numbers = {name: batch.numbers(name).astype(np.float64) for name in names}
    at = float(np.interp(np.log(moving_speed), np.log(FLOORS), np.arange(len(FLOORS))))
    lower = min(int(at), len(FLOORS) - 2)
    moving = _table(batch.lists("moving"), len(FLOORS))
    area = moving[:, lower] * (lower + 1 - at) + moving[:, lower + 1] * (at - lower)
    return Features(area=area * _inside_views(batch), **numbers)


def _inside_views(batch: ClipBatch) -> np.ndarray:
    """(N,) moving share of the view, relative to that of the frame without bars."""
    result = np.ones(len(batch))
    x, y, width, height = _table(batch.lists("area"), 4).T
    left, top, wide, tall = batch.views.T
    cropped = (left > x + 1) | (left + wide < x + width - 1)
    cropped = np.flatnonzero(cropped | (top > y + 1) | (top + tall < y + height - 1))
    if not len(cropped):
        return result
    rows, columns = ZONES
    zones = _table(batch.lists("zones"), rows * columns)[cropped].reshape(-1, rows, columns)
    down = _overlap(y[cropped], height[cropped], top[cropped], tall[cropped], rows)
    across = _overlap(x[cropped], width[cropped], left[cropped], wide[cropped], columns)
    weight = down[:, :, None] * across[:, None]
    inside = (zones * weight).sum(axis=(1, 2)) / np.maximum(weight.sum(axis=(1, 2)), 1e-9)
    result[cropped] = inside / np.maximum(zones.mean(axis=(1, 2)), 1e-9)
    return result


def _overlap(
    start: np.ndarray, length: np.ndarray, low: np.ndarray, size: np.ndarray, zones: int
) -> np.ndarray:
    """(N, zones) share of each zone between `low` and `low + size`."""
    step = np.maximum(length / zones, 1e-9)[:, None]
    first = start[:, None] + np.arange(zones) * step
    inside = np.minimum(first + step, (low + size)[:, None]) - np.maximum(first, low[:, None])
    return np.clip(inside / step, 0, 1)


def _table(column: Ragged, width: int) -> np.ndarray:
    return column.values[column.starts[0] : column.starts[-1]].reshape(-1, width)
