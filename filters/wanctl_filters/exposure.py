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
_CRUSHED = 4  # luma of pixels below which shadows hold no structure
_SHADE = 24  # luma up to which shadows are dim but hold structure
# Share of dim pixels, of the black ones. Light falls off: 0.46 to 0.72 in dark footage of cameras.
# The black background of a game or a slide has no transition: 0.08 and less.
_MIN_FALL_OFF = 0.2
_LIT = 90  # luma of a lit subject
_EMPTY, _EMPTY_SHARE = 16, 0.97  # nothing is pictured: a fade, a black card


class Exposure(Filter):
    """Over-exposure from clipped highlights, under-exposure from crushed shadows, inside any bars.

    A pixel is blown when at least two of its channels are at `blown_level` or above and its
    neighbourhood is flat: bright texture (snow, foam, lace) and saturated lamps do not count. A
    white background around the subject, as in a studio, is excluded first: there, only the share
    of the subject that is blown counts.

    A clip is under-exposed if its shadows are crushed and hardly anything in it is lit. Low-key
    film keeps structure in its shadows, and a drawn black background has no shadows around it. A
    clip is under-exposed as well if even its highlights are far below middle grey, as where four
    stops of light are missing.

    The score is the blown share minus the darkness, both in %. Darkness is the crushed share, or
    what dim highlights amount to at the same scale. The label of dropped clips is `over`, `under`,
    or `black` where nothing is pictured at all.
    """

    version: ClassVar[int] = 5
    evidence: ClassVar[dict[str, str]] = {
        "blown": "floats",
        "luma": "floats",
        "highlight": "ints",
        "crushed": "floats",
        "shade": "floats",
        "lit": "floats",
        "empty": "floats",
    }
    unit: ClassVar[str] = "%"

    samples: int = Field(default=8, ge=1, description="frames measured, spread over the clip")
    long_side_px: int = Field(default=320, ge=64, description="frames are scaled down to this")
    blown_level: int = Field(default=250, ge=1, le=255, description="channel value that is clipped")
    max_blown: float = threshold(
        default=0.2, ge=0, le=1, description="largest share of blown pixels, median over frames"
    )
    min_highlight: float = threshold(
        default=64.0,
        ge=0,
        lt=255,
        description="smallest 99th percentile of the luma (0..255), median over frames; 95 in "
        "low-key film, at most 55 where four stops of light are missing",
    )
    max_crushed: float = threshold(
        default=0.25,
        gt=0,
        le=1,
        description="largest share of pixels in black, median over frames",
    )
    min_lit: float = threshold(
        default=0.25,
        ge=0,
        le=1,
        description="share of pixels with a luma of 90 and more from which any share of black is "
        "allowed, median over frames",
    )

    def frames(self) -> FrameSpec:
        """Small colour frames by nearest-neighbour sampling: averaging would hide clipping."""
        return FrameSpec(count=self.samples, long_side_px=self.long_side_px, scaling="nearest")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Per frame: mean and 99th percentile of the luma (0..255); shares of pixels (0..1)."""
        import cv2

        assert frames is not None
        lumas = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.frames])
        rows, columns = active_area(lumas)
        pairs = [
            (frame[rows, columns], luma[rows, columns])
            for frame, luma in zip(frames.frames, lumas, strict=True)
        ]
        levels = [_Levels(luma) for _, luma in pairs]
        return {
            "blown": [round(_blown(frame, luma, self.blown_level), 5) for frame, luma in pairs],
            "luma": [round(each.mean(), 2) for each in levels],
            "highlight": [each.percentile(99) for each in levels],
            "crushed": [round(each.share(0, _CRUSHED), 5) for each in levels],
            "shade": [round(each.share(_CRUSHED, _SHADE), 5) for each in levels],
            "lit": [round(each.share(_LIT, 256), 5) for each in levels],
            "empty": [round(each.share(0, _EMPTY), 5) for each in levels],
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (-100 * self.max_crushed, 100 * self.max_blown)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Drop clips that are too bright or too dark in half of their frames."""
        blown, highlight = medians(batch.lists("blown")), medians(batch.lists("highlight"))
        crushed, lit = medians(batch.lists("crushed")), medians(batch.lists("lit"))
        empty = medians(batch.lists("empty")) >= _EMPTY_SHARE
        over = blown > self.max_blown
        shadow = medians(batch.lists("shade")) >= _MIN_FALL_OFF * crushed
        black = np.where(shadow & (lit < self.min_lit), crushed, 0.0)
        # highlights at their bound count as much as the crushed share at its own
        dim = (255 - highlight) / (255 - self.min_highlight)
        darkness = np.maximum(black, self.max_crushed * dim)
        under = darkness > self.max_crushed

        def dark(row: int) -> str:
            if empty[row]:
                return "black: nothing is pictured"
            if black[row] > self.max_crushed:
                return (
                    f"too dark: {black[row]:.1%} of the frame is black, allowed "
                    f"{self.max_crushed:.1%}, and {lit[row]:.1%} is lit"
                )
            return (
                f"too dark: highlights reach {highlight[row]:.0f} of 255, at least "
                f"{self.min_highlight:g} wanted"
            )

        return Verdicts.judge(
            100 * (blown - darkness),
            (
                over,
                lambda row: (
                    f"{blown[row]:.1%} of the frame is blown out, allowed {self.max_blown:.1%}"
                ),
            ),
            (under, dark),
            label=labels(len(batch), over=over, black=under & empty, under=under),
        )


class _Levels:
    """The histogram of a frame's luma; five passes over the frame take three times as long."""

    def __init__(self, luma: np.ndarray) -> None:
        import cv2

        # exact up to 2^24 pixels
        self._counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        self._below = np.concatenate([[0], np.cumsum(self._counts)])

    def mean(self) -> float:
        return float(self._counts @ np.arange(256) / self._below[-1])

    def share(self, low: int, high: int) -> float:
        """Share of the pixels from level `low` to below `high`."""
        return float((self._below[high] - self._below[low]) / self._below[-1])

    def percentile(self, percent: int) -> int:
        """The percentile between the nearest two pixels, rounded down."""
        place = (self._below[-1] - 1) * percent / 100
        first = int(place)
        values = np.searchsorted(self._below[1:], [first, first + 1], side="right")
        low, high = np.minimum(values, 255)
        return int(low + (high - low) * (place - first))


def _blown(frame: np.ndarray, luma: np.ndarray, level: int) -> float:
    """Share of an (H, W, 3) uint8 frame that is blown, without a white studio background."""
    import cv2

    red, green, blue = cv2.split(frame)
    second = cv2.max(cv2.min(red, green), cv2.min(cv2.max(red, green), blue))
    bright = second >= level
    if not bright.any():
        return 0.0
    kernel = np.ones((3, 3), np.uint8)
    flat = cv2.dilate(luma, kernel) - cv2.erode(luma, kernel) <= _FLAT_LEVELS
    hot = flat & bright
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
