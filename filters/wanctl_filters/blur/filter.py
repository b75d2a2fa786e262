"""Drops clips that are out of focus or blurred by motion throughout, and labels which."""

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
    Ragged,
    Verdicts,
    threshold,
)
from wanctl_filters.blur.edge_width import edge_widths
from wanctl_filters.shared.bars import active_area
from wanctl_filters.shared.ragged import equal_lengths, labels

_USUAL_PX = 640  # longer side of the smallest usual footage, 360 lines at 16:9
_LARGEST_RATIO = 1.5  # 240 lines; the sharpest edges of smaller frames would count as soft


class Blur(Filter):
    """Width of the sharpest edges in pixels: regions in focus have narrow edges.

    It is measured in tiles and along four directions. The few sharpest tiles count, so that a
    sharp subject before a blurred background passes; a width does not depend on contrast, so that
    fog passes. Defocus widens edges along every direction, motion along one: the widest direction
    decides, and the narrowest separates the two (label `defocus` or `motion`). Only the sharper
    half of the frames counts, so that a moment of shake does not drop a clip.

    Widths are measured on the file's own pixels, at most 854 on the longer side. A frame smaller
    than 640 is enlarged before it is of use, and its edges with it: they count by the size that
    they have then, so that footage of 240 lines passes only if it is sharp to the pixel.
    """

    version: ClassVar[int] = 4
    evidence: ClassVar[dict[str, str]] = {
        "width": "floats",
        "narrow": "floats",
        "long_side": "int",
    }
    unit: ClassVar[str] = "px"

    samples: int = Field(default=8, ge=1, description="frames measured, spread over the clip")
    long_side_px: int = Field(
        default=854,
        ge=64,
        description="frames are scaled down to this (480 lines at 16:9) before measuring",
    )
    max_width: float = threshold(
        default=0.84,
        ge=0,
        description="wider edges are blurred; 0.3 to 0.6 px in sharp footage, 1 px after a blur "
        "of sigma 1, 2 px after a disk of radius 8",
    )
    motion_width: float = threshold(
        default=0.65,
        ge=0,
        description="a blurred clip whose edges are narrower than this along some direction is "
        "smeared by motion",
    )
    motion_ratio: float = threshold(
        default=1.6,
        ge=1,
        description="so is one whose edges are this many times wider along one direction than "
        "along another",
    )

    def frames(self) -> FrameSpec:
        """Luma at a fixed size, so that widths of different footage are comparable."""
        return FrameSpec(count=self.samples, long_side_px=self.long_side_px, color="gray")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Per frame: width of the sharpest edges along the widest and the narrowest direction.

        In pixels; 0 where the frame has no edges to measure.
        """
        assert frames is not None
        rows, columns = active_area(frames.frames)
        widths = [edge_widths(frame[rows, columns]) for frame in frames.frames]
        return {
            "width": [round(max(each, default=0.0), 3) for each in widths],
            "narrow": [round(min(each, default=0.0), 3) for each in widths],
            "long_side": max(frames.frames[0, rows, columns].shape),
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.max_width,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is the width of the edges in the sharper half of the frames, in pixels."""
        long_side = np.maximum(batch.numbers("long_side"), 1)
        scale = np.clip(_USUAL_PX / long_side, 1.0, _LARGEST_RATIO)
        width = scale * _sharper(batch.lists("width"))
        narrow = scale * _sharper(batch.lists("narrow"))
        blurred = width > self.max_width
        moved = (narrow <= self.motion_width) | (width >= self.motion_ratio * narrow)

        def why(row: int) -> str:
            how = "smeared by motion" if moved[row] else "out of focus"
            return f"{how}: edges are {width[row]:.2f} px wide, allowed {self.max_width:g} px"

        label = labels(len(batch), motion=blurred & moved, defocus=blurred)
        return Verdicts.judge(width, (blurred, why), label=label)


def _sharper(widths: Ragged) -> np.ndarray:
    """(N,) median of the smaller half of each row's positive values; 0 where there are none."""
    result = np.zeros(len(widths.starts) - 1)
    for _, rows, values in equal_lengths(widths):
        ordered = np.sort(np.where(values > 0, values, np.inf), axis=1)
        half = (np.isfinite(ordered).sum(axis=1) + 1) // 2
        every = np.arange(len(ordered))
        middle = ordered[every, np.maximum(half - 1, 0) // 2] + ordered[every, half // 2]
        result[rows] = np.where(half > 0, middle / 2, 0.0)
    return result
