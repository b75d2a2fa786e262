"""Finds bars around the picture, flat or filled with a blurred copy of it, and crops them."""

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
from wanctl_filters.border.soft_bars import find_soft_bars
from wanctl_filters.shared.bars import SIDES, Bar, bright_frames, find_bars
from wanctl_filters.shared.siblings import agreed, sources

_OPPOSITE = [2, 3, 0, 1]  # of each of SIDES
_PAIR_PX = 4
_MIN_SOFT_SHARE = 0.01  # of the side; thinner soft margins are the encoder's


class Border(Filter):
    """Proposes a crop where margins are bars: letterbox, pillarbox or both.

    A flat bar is constant over the clip and ends in a straight edge. A blurred one moves, but
    nothing in it is sharp, it ends in a straight edge and has a twin on the other side. Works at
    native size, so that the crop is exact to the pixel. A clip that is too dark to tell (fades,
    night) takes the crop on which most clips of its source agree.
    """

    version: ClassVar[int] = 3
    scope: ClassVar[Literal["clip", "source", "set"]] = "source"
    evidence: ClassVar[dict[str, str]] = {
        "width": "int",
        "height": "int",
        "bars": "ints",
        "change": "floats",
        "luma": "floats",
        "soft": "ints",
        "soft_contrast": "floats",
        "soft_change": "floats",
        "bright_frames": "int",
    }
    unit: ClassVar[str] = "%"

    samples: int = Field(
        default=8, ge=2, description="frames looked at, spread evenly over the clip"
    )
    tolerance: float = Field(
        default=4.0, gt=0, description="luma levels (0..255) by which a bar may vary along itself"
    )
    dark_luma: float = Field(
        default=10.0, ge=0, description="frames with a mean luma (0..255) below this are not used"
    )
    min_frames: int = threshold(
        default=2, ge=1, description="bright frames needed to tell a bar; with fewer, no crop"
    )
    min_bar_px: int = threshold(default=2, ge=1, description="thinner bars are left in place")
    min_change: float = threshold(
        default=0.5,
        ge=0,
        le=1,
        description="share of a bar's inner edge along which the picture must differ from the bar; "
        "two thirds of it for two equal bars",
    )
    min_soft_contrast: float = threshold(
        default=15.0,
        gt=0,
        description="how much a blurred bar must differ from the picture: strength of its edge "
        "times gain in texture; bars have 20 and more, anything else 13 and less",
    )
    agree_share: float = threshold(
        default=0.6,
        gt=0,
        le=1,
        description="share of a source's bright clips with the same bar that speaks for all of its "
        "clips",
    )
    inset_px: int = threshold(
        default=1, ge=0, description="taken off behind each bar, where the edge is soft"
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
        # four frames tell texture; they cost more than looking for flat bars
        found = find_soft_bars(luma[:: max(1, len(luma) // 4)]) if len(luma) else {}
        soft = [found[side] for side in SIDES if side in found]
        _, height, width = frames.frames.shape
        return {
            "width": width,
            "height": height,
            "bars": [bar.width for bar in flat],
            "change": [bar.change for bar in flat],
            "luma": [bar.luma for bar in flat],
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
        # encoders want even sizes; an odd pixel goes with the bar
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
        """(N, 4) int64 width of the bar on each side, after asking the source's other clips."""
        margin = batch.lists("bars").values.reshape(-1, len(SIDES)).astype(np.int64)
        bright = batch.numbers("bright_frames") >= self.min_frames
        flat = np.where(bright[:, None], self._flat(batch, margin), 0)
        soft_margin = batch.lists("soft").values.reshape(-1, len(SIDES)).astype(np.int64)
        soft = np.where(bright[:, None], self._soft(batch, soft_margin, width, height), 0)
        own = np.maximum(flat, soft)
        paired = (own > 0) & (np.abs(own - own[:, _OPPOSITE]) <= _PAIR_PX)
        groups = sources(batch)
        for side in range(len(SIDES)):
            common = agreed(groups, own[:, side], bright, slack=_PAIR_PX, share=self.agree_share)
            # a clip goes along where it looks like a bar to it too, only deeper or less sure
            fits = ~bright | (margin[:, side] >= common - self.min_bar_px)
            fits |= np.abs(soft_margin[:, side] - common) <= _PAIR_PX
            taken = (common > 0) & fits & ~paired[:, side]
            own[:, side] = np.where(taken, common, own[:, side])
        return own

    def _flat(self, batch: ClipBatch, margin: np.ndarray) -> np.ndarray:
        change = batch.lists("change").values.reshape(-1, len(SIDES))
        # in a dark shot one of two equal bars may have no light behind it: they stand together
        other = margin[:, _OPPOSITE]
        pair = (other > 0) & (np.abs(margin - other) <= _PAIR_PX)
        change = np.where(pair, np.maximum(change, change[:, _OPPOSITE]), change)
        # footage may have a bar's own shade along half of it; outlines of things are no pairs
        least = np.where(pair, 2 / 3, 1) * self.min_change
        return np.where((margin >= self.min_bar_px) & (change >= least), margin, 0)

    def _soft(
        self, batch: ClipBatch, margin: np.ndarray, width: np.ndarray, height: np.ndarray
    ) -> np.ndarray:
        contrast = batch.lists("soft_contrast").values.reshape(-1, len(SIDES))
        least = _MIN_SOFT_SHARE * np.stack([width, height, width, height], axis=1)
        wide = margin >= np.maximum(least, 2 * self.min_bar_px)
        change = batch.lists("soft_change").values.reshape(-1, len(SIDES))
        change = np.maximum(change, change[:, _OPPOSITE])  # they stand in pairs
        found = wide & (contrast >= self.min_soft_contrast) & (change >= self.min_change)
        return np.where(found, margin, 0)
