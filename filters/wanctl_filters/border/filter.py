"""Finds bars around the active area, flat or filled with a blurred copy of it, and crops them."""

from typing import ClassVar, Literal

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
from wanctl_filters.border.consensus import consensus
from wanctl_filters.border.flat_bars import OPPOSITE, PAIR_PX, flat_bars
from wanctl_filters.border.soft_bars import find_soft_bars
from wanctl_filters.border.written_bars import find_written_bars
from wanctl_filters.shared.bars import SIDES, Bar, bright_frames, find_bars
from wanctl_filters.shared.source_groups import source_groups

_MIN_SOFT_SHARE = 0.01  # of the side; thinner soft margins are encoding artefacts


class Border(Filter):
    """Proposes a crop where margins are bars: letterbox, pillarbox or both.

    A flat bar is constant over the clip, ends in a straight edge and has a counterpart on the
    opposite side (`flat_bars.py`); text or a logo in a black bar is cropped with it. A blurred bar
    moves, but nothing in it is sharp, it ends in a straight edge, and there is an equal bar on the
    opposite side. Frames are measured at native size, so that the crop is exact to the pixel. A
    clip that is too dark to measure (fades, night) gets the crop of the majority of its source's
    clips.
    """

    version: ClassVar[int] = 4
    scope: ClassVar[Literal["clip", "source", "set"]] = "source"
    evidence: ClassVar[dict[str, str]] = {
        "width": "int",
        "height": "int",
        "bars": "ints",
        "change": "floats",
        "luma": "floats",
        "uneven": "floats",
        "drift": "floats",
        "written": "ints",
        "soft": "ints",
        "soft_contrast": "floats",
        "soft_change": "floats",
        "bright_frames": "int",
    }
    unit: ClassVar[str] = "%"

    samples: int = Field(
        default=8, ge=2, description="frames measured, spread evenly over the clip"
    )
    tolerance: float = Field(
        default=4.0, gt=0, description="luma levels (0..255) by which a bar may vary along itself"
    )
    dark_luma: float = Field(
        default=10.0, ge=0, description="frames with a mean luma (0..255) below this are not used"
    )
    min_frames: int = threshold(
        default=2, ge=1, description="bright frames needed to detect a bar; with fewer, no crop"
    )
    min_bar_px: int = threshold(default=2, ge=1, description="thinner bars are left in place")
    min_change: float = threshold(
        default=0.5,
        ge=0,
        le=1,
        description="share of a bar's inner edge along which the frame must differ from the bar; "
        "half to two thirds of it for two equal bars",
    )
    min_soft_contrast: float = threshold(
        default=20.0,
        gt=0,
        description="how much a blurred bar must differ from the active area: strength of its edge "
        "times gain in texture; bars have 25 and more, anything else 16 and less",
    )
    agree_share: float = threshold(
        default=0.6,
        gt=0,
        le=1,
        description="share of a source's bright clips with the same bar from which it applies to "
        "all clips of the source",
    )
    inset_px: int = threshold(
        default=1, ge=0, description="pixels cropped beyond each bar, where the edge is soft"
    )
    min_picture_share: float = threshold(
        default=0.3, ge=0, le=1, description="drop the clip if less of its area is left"
    )

    def frames(self) -> FrameSpec:
        """Luma at native size."""
        return FrameSpec(count=self.samples, color="gray")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Widths in pixels, edge contrast and luma of the bars, in the order of `SIDES`."""
        assert frames is not None
        luma = bright_frames(frames.frames, self.dark_luma)
        bars = find_bars(luma, tolerance=self.tolerance) if len(luma) else {}
        flat = [bars.get(side, Bar()) for side in SIDES]
        # four frames are enough for texture, which costs more than finding flat bars
        soft_bars = find_soft_bars(luma[:: max(1, len(luma) // 4)]) if len(luma) else {}
        soft = [soft_bars[side] for side in SIDES if side in soft_bars]
        _, height, width = frames.frames.shape
        return {
            "width": width,
            "height": height,
            "bars": [bar.width for bar in flat],
            "change": [bar.change for bar in flat],
            "luma": [bar.luma for bar in flat],
            "uneven": [bar.uneven for bar in flat],
            "drift": [bar.drift for bar in flat],
            "written": find_written_bars(luma, bars) if bars else [0] * len(SIDES),
            "soft": [bar.width for bar in soft] or [0] * len(SIDES),
            "soft_contrast": [bar.contrast for bar in soft] or [0.0] * len(SIDES),
            "soft_change": [bar.change for bar in soft] or [0.0] * len(SIDES),
            "bright_frames": len(luma),
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (100 * (1 - self.min_picture_share),)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Keep and crop; drop where bars leave too little. The score is the area cut off, in %."""
        width, height = batch.numbers("width"), batch.numbers("height")
        cuts = self._bars(batch, width, height)
        cuts += np.where(cuts > 0, self.inset_px, 0)
        wide = np.maximum(0, width - cuts[:, 0] - cuts[:, 2])
        high = np.maximum(0, height - cuts[:, 1] - cuts[:, 3])
        # encoders need even sizes; an odd pixel is cropped with the bar
        wide -= wide % 2 * (cuts[:, 0] + cuts[:, 2] > 0)
        high -= high % 2 * (cuts[:, 1] + cuts[:, 3] > 0)
        share = wide * high / np.maximum(width * height, 1)
        crops = np.stack([cuts[:, 0], cuts[:, 1], wide, high], axis=1).astype(np.int32)
        crops[share == 1] = 0
        return Verdicts.judge(
            100 * (1 - share),
            (
                share < self.min_picture_share,
                lambda row: (
                    f"bars leave {share[row]:.1%} of the frame, "
                    f"at least {self.min_picture_share:.1%} wanted"
                ),
            ),
            crops=crops,
        )

    def _bars(self, batch: ClipBatch, width: np.ndarray, height: np.ndarray) -> np.ndarray:
        """(N, 4) int64 width of the bar on each side, with the consensus of each source applied."""
        margin = batch.lists("bars").values.reshape(-1, len(SIDES)).astype(np.int64)
        bright = batch.numbers("bright_frames") >= self.min_frames
        size = np.stack([width, height, width, height], axis=1)
        flat = flat_bars(batch, size, min_bar_px=self.min_bar_px, min_change=self.min_change)
        flat = np.where(bright[:, None], flat, 0)
        soft_margin = batch.lists("soft").values.reshape(-1, len(SIDES)).astype(np.int64)
        soft = np.where(bright[:, None], self._soft(batch, soft_margin, size), 0)
        own = np.maximum(flat, soft)
        paired = (own > 0) & (np.abs(own - own[:, OPPOSITE]) <= PAIR_PX)
        groups = source_groups(batch)
        for side in range(len(SIDES)):
            common = consensus(groups, own[:, side], bright, slack=PAIR_PX, share=self.agree_share)
            # a clip adopts it only where its own margin is at least as deep
            fits = ~bright | (margin[:, side] >= common - self.min_bar_px)
            fits |= np.abs(soft_margin[:, side] - common) <= PAIR_PX
            adopted = (common > 0) & fits & ~paired[:, side]
            own[:, side] = np.where(adopted, common, own[:, side])
        return own

    def _soft(self, batch: ClipBatch, margin: np.ndarray, size: np.ndarray) -> np.ndarray:
        contrast = batch.lists("soft_contrast").values.reshape(-1, len(SIDES))
        wide = margin >= np.maximum(_MIN_SOFT_SHARE * size, 2 * self.min_bar_px)
        change = batch.lists("soft_change").values.reshape(-1, len(SIDES))
        change = np.maximum(change, change[:, OPPOSITE])  # soft bars come in pairs
        is_bar = wide & (contrast >= self.min_soft_contrast) & (change >= self.min_change)
        return np.where(is_bar, margin, 0)
