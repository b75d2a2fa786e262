"""Drops clips that are blown out or nearly black."""

from statistics import median
from typing import ClassVar

import numpy as np

from wanctl.curate.api import (
    Clip,
    Evidence,
    Field,
    Filter,
    FrameBatch,
    FrameSpec,
    Verdict,
    threshold,
)
from wanctl_filters._bars import picture_area

# ITU-R BT.601 luma, full range.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Exposure(Filter):
    """Over- and under-exposure, from the share of clipped pixels inside any bars.

    A pixel is blown when at least two of its channels are at `blown_level` or above and its
    neighbourhood is flat: bright texture (snow, foam, lace) and saturated lamps do not count.
    """

    evidence: ClassVar[dict[str, str]] = {"blown": "floats", "dark": "floats", "luma": "floats"}
    unit: ClassVar[str] = "%"

    samples: int = Field(default=8, ge=1, description="frames looked at, spread over the clip")
    blown_level: int = Field(default=250, ge=1, le=255, description="channel value that is clipped")
    dark_level: int = Field(default=24, ge=0, le=255, description="highest luma that is dark")
    max_blown: float = threshold(
        default=0.25, ge=0, le=1, description="largest share of blown pixels, median over frames"
    )
    max_dark: float = threshold(
        default=0.85, ge=0, le=1, description="largest share of dark pixels, median over frames"
    )
    min_luma: float = threshold(
        default=20.0, ge=0, le=255, description="smallest mean luma, median over frames"
    )

    def frames(self) -> FrameSpec:
        """Small frames in colour."""
        return FrameSpec(count=self.samples, long_side_px=480)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Per frame: share of blown pixels, share of dark pixels (0..1), mean luma (0..255)."""
        assert frames is not None
        luma = (frames.frames @ _LUMA).round().astype(np.uint8)
        rows, columns = picture_area(luma)
        luma = luma[:, rows, columns]
        picture = frames.frames[:, rows, columns]
        clipped = (picture >= self.blown_level).sum(axis=3) >= 2
        blown = [
            float((hot & _flat(frame)).mean()) for hot, frame in zip(clipped, luma, strict=True)
        ]
        return {
            "blown": [round(share, 5) for share in blown],
            "dark": [round(float((frame <= self.dark_level).mean()), 5) for frame in luma],
            "luma": [round(float(frame.mean()), 2) for frame in luma],
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (100 * self.max_blown,)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the median share of blown pixels, in %."""
        blown, dark = median(evidence["blown"]), median(evidence["dark"])
        luma = median(evidence["luma"])
        reason = ""
        if blown > self.max_blown:
            reason = f"{blown:.1%} of the picture is blown out, allowed {self.max_blown:.1%}"
        elif dark > self.max_dark:
            reason = f"{dark:.1%} of the picture is dark, allowed {self.max_dark:.1%}"
        elif luma < self.min_luma:
            reason = f"mean luma is {luma:.1f} of 255, at least {self.min_luma:g} wanted"
        return Verdict(keep=not reason, reason=reason, score=100 * blown)


def _flat(luma: np.ndarray) -> np.ndarray:
    """Where the 3x3 neighbourhood of (H, W) uint8 spans at most 6 levels."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    return (cv2.dilate(luma, kernel) - cv2.erode(luma, kernel)) <= 6
