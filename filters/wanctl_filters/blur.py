"""Drops clips that are out of focus or smeared throughout."""

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

_TILES = 8  # per side
_REBLUR_PX = 9  # window of the second blur, as in the paper
_MIN_TEXTURE = 0.25  # mean luma step between neighbours; flatter frames have no focus to judge


class Blur(Filter):
    """Two measures must agree: no tile is sharp, and blurring the picture again changes little.

    The variance of the Laplacian finds sharp detail anywhere, so that a sharp subject before a
    soft background passes; it depends on content, so that fog would fail. The re-blur ratio
    (Crete et al. 2007, "The blur effect") is normalised by content and rescues such pictures.
    Only the sharper half of the frames counts: a moment of shake is no reason to drop a clip.
    """

    evidence: ClassVar[dict[str, str]] = {"sharpness": "floats", "reblur": "floats"}

    samples: int = Field(default=8, ge=1, description="frames looked at, spread over the clip")
    long_side_px: int = Field(
        default=854,
        ge=64,
        description="frames are scaled down to this (480 lines at 16:9) and judged there",
    )
    max_reblur: float = threshold(
        default=0.6,
        ge=0,
        le=1,
        description="a higher re-blur ratio is blurred (0 crisp, 1 smooth)",
    )
    min_sharpness: float = threshold(
        default=60.0,
        ge=0,
        description="variance of the Laplacian below this is blurred (luma levels squared)",
    )

    def frames(self) -> FrameSpec:
        """Luma at a fixed size, so that numbers of different footage compare."""
        return FrameSpec(count=self.samples, long_side_px=self.long_side_px, color="gray")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Per frame: 90th percentile over tiles of the Laplacian's variance; re-blur ratio."""
        assert frames is not None
        rows, columns = picture_area(frames.frames)
        pictures = [frame[rows, columns].astype(np.float32) for frame in frames.frames]
        return {
            "sharpness": [round(_sharpness(picture), 3) for picture in pictures],
            "reblur": [round(_reblur(picture), 5) for picture in pictures],
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.max_reblur,)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the re-blur ratio of the sharper half of the frames."""
        pairs = sorted(
            zip(evidence["sharpness"], evidence["reblur"], strict=True), key=lambda pair: -pair[0]
        )
        sharper = pairs[: (len(pairs) + 1) // 2]
        sharpness = median(pair[0] for pair in sharper)
        reblur = median(pair[1] for pair in sharper)
        if reblur > self.max_reblur and sharpness < self.min_sharpness:
            return Verdict(
                keep=False,
                reason=f"blurred: re-blur ratio {reblur:.2f}, allowed {self.max_reblur:g}; "
                f"sharpness {sharpness:.0f}, at least {self.min_sharpness:g} wanted",
                score=reblur,
            )
        return Verdict(keep=True, score=reblur)


def _sharpness(picture: np.ndarray) -> float:
    import cv2

    edges = cv2.Laplacian(picture, cv2.CV_32F)
    tiles = [
        float(tile.var())
        for band in np.array_split(edges, _TILES, axis=0)
        for tile in np.array_split(band, _TILES, axis=1)
        if tile.size
    ]
    return float(np.percentile(tiles, 90))


def _reblur(picture: np.ndarray) -> float:
    """Share of the neighbour differences of (H, W) float32 that survives another blur, 0..1.

    The larger of the two directions, so that motion blur along one axis shows. 0 where there is
    no texture to judge.
    """
    import cv2

    ratios = [0.0]
    for axis, window in ((0, (1, _REBLUR_PX)), (1, (_REBLUR_PX, 1))):
        steps = np.abs(np.diff(picture, axis=axis))
        blurred = np.abs(np.diff(cv2.blur(picture, window), axis=axis))
        total = float(steps.sum())
        if total > _MIN_TEXTURE * steps.size:
            lost = float(np.maximum(0.0, steps - blurred).sum())
            ratios.append((total - lost) / total)
    return max(ratios)
