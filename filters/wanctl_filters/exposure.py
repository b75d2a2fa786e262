"""Drops clips that are blown out or too dark."""

from typing import ClassVar

import numpy as np

from wanctl.curate.api import (
    Clip,
    ClipBatch,
    Evidence,
    Field,
    Filter,
    FrameBatch,
    FrameSpec,
    Verdicts,
    threshold,
)
from wanctl_filters.shared.bars import active_area
from wanctl_filters.shared.ragged import labels, medians

_FLAT_LEVELS = 6
# A white background touches most of the frame's outline, and its outline around the subject is
# short. Measured on gain of +1 to +4 EV: blown areas that touch 0.7 of the frame's outline have an
# outline 5 to 9 times as long as a circle's of the same area.
_MIN_OUTLINE_SHARE = 0.7
_MAX_RAGGEDNESS = 3.0
_NORMAL_LEVEL = 130.0  # `level` of an ordinary frame; lower levels count as darkness


class Exposure(Filter):
    """Over-exposure from clipped highlights, under-exposure from level, inside any bars.

    A pixel is blown when at least two of its channels are at `blown_level` or above and its
    neighbourhood is flat: bright texture (snow, foam, lace) and saturated lamps do not count. A
    white background around the subject, as in a studio, is excluded first: there, only the share
    of the subject that is blown counts.

    Darkness is measured by the geometric mean of the luma and by the highlights: a night scene
    with lamps has highlights, an under-exposed frame has none.

    The score is the blown share in % minus the darkness in % (how far the level is below that of
    an ordinary frame); the label is `over` or `under` where the clip is dropped.
    """

    version: ClassVar[int] = 3
    evidence: ClassVar[dict[str, str]] = {"blown": "floats", "level": "floats", "luma": "floats"}
    unit: ClassVar[str] = "%"

    samples: int = Field(default=8, ge=1, description="frames measured, spread over the clip")
    long_side_px: int = Field(default=320, ge=64, description="frames are scaled down to this")
    blown_level: int = Field(default=250, ge=1, le=255, description="channel value that is clipped")
    max_blown: float = threshold(
        default=0.2, ge=0, le=1, description="largest share of blown pixels, median over frames"
    )
    min_level: float = threshold(
        default=65.0,
        ge=0,
        le=_NORMAL_LEVEL,
        description="smallest level: geometric mean of the luma plus a quarter of its 99th "
        "percentile, median over frames",
    )

    def frames(self) -> FrameSpec:
        """Small colour frames by nearest-neighbour sampling: averaging would hide clipping."""
        return FrameSpec(count=self.samples, long_side_px=self.long_side_px, scaling="nearest")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Per frame: share of blown pixels (0..1), level, mean luma (0..255)."""
        import cv2

        assert frames is not None
        lumas = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.frames])
        rows, columns = active_area(lumas)
        pairs = [
            (frame[rows, columns], luma[rows, columns])
            for frame, luma in zip(frames.frames, lumas, strict=True)
        ]
        return {
            "blown": [round(_blown(frame, luma, self.blown_level), 5) for frame, luma in pairs],
            "level": [round(_level(luma), 2) for _, luma in pairs],
            "luma": [round(float(luma.mean()), 2) for _, luma in pairs],
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (-100 * (1 - self.min_level / _NORMAL_LEVEL), 100 * self.max_blown)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Drop clips that are too bright or too dark in half of their frames."""
        blown, level = medians(batch.lists("blown")), medians(batch.lists("level"))
        over, under = blown > self.max_blown, level < self.min_level
        return Verdicts.judge(
            100 * (blown - np.maximum(0, 1 - level / _NORMAL_LEVEL)),
            (
                over,
                lambda row: (
                    f"{blown[row]:.1%} of the frame is blown out, allowed {self.max_blown:.1%}"
                ),
            ),
            (
                under,
                lambda row: f"too dark: level {level[row]:.0f}, at least {self.min_level:g} wanted",
            ),
            label=labels(len(batch), over=over, under=under),
        )


def _blown(frame: np.ndarray, luma: np.ndarray, level: int) -> float:
    """Share of an (H, W, 3) uint8 frame that is blown, without a white studio background."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    flat = cv2.dilate(luma, kernel) - cv2.erode(luma, kernel) <= _FLAT_LEVELS
    red, green, blue = cv2.split(frame)
    second = cv2.max(cv2.min(red, green), cv2.min(cv2.max(red, green), blue))
    hot = flat & (second >= level)
    background = _studio_background(hot)
    rest = hot.size - background.sum()
    return float((hot & ~background).sum() / rest) if rest else 1.0


def _studio_background(hot: np.ndarray) -> np.ndarray:
    """The parts of an (H, W) bool mask that touch the border, if their outline is smooth."""
    import cv2

    none = np.zeros_like(hot)
    if np.concatenate([hot[0], hot[-1], hot[:, 0], hot[:, -1]]).mean() < _MIN_OUTLINE_SHARE:
        return none
    _, parts = cv2.connectedComponents(hot.astype(np.uint8), connectivity=4)
    touching = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    background = hot & np.isin(parts, touching)
    kernel = np.ones((3, 3), np.uint8)
    solid = cv2.morphologyEx(background.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    edge = np.count_nonzero(cv2.min(solid, cv2.dilate(1 - solid, kernel)))
    subject = solid.size - np.count_nonzero(solid)
    return background if edge <= _MAX_RAGGEDNESS * 2 * np.sqrt(np.pi * subject) else none


def _level(luma: np.ndarray) -> float:
    """Geometric mean of the luma plus a quarter of its 99th percentile."""
    histogram = np.bincount(luma.ravel(), minlength=256) / luma.size
    # four levels are added, so that the logarithm of black is bounded
    mean = np.exp(histogram @ np.log(np.arange(256) + 4.0))
    return float(mean + np.searchsorted(np.cumsum(histogram), 0.99) / 4)
