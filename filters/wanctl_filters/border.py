"""Finds flat bars of any colour (letterbox, pillarbox or both) and crops them."""

from typing import ClassVar

from wanctl.curate.api import (
    Box,
    Clip,
    Evidence,
    Field,
    Filter,
    FrameBatch,
    FrameSpec,
    Verdict,
    threshold,
)
from wanctl_filters._bars import SIDES, bright_frames, find_bars

OPPOSITE = {"left": "right", "top": "bottom", "right": "left", "bottom": "top"}
PAIR_PX = 4


class Border(Filter):
    """Proposes a crop where margins are flat, constant over the clip and end in a straight edge.

    Works at native size, so that the crop is exact to the pixel. Clips that are dark throughout
    (fades, night) tell nothing and keep their whole frame.
    """

    evidence: ClassVar[dict[str, str]] = {
        "width": "int",
        "height": "int",
        "bars": "ints",
        "change": "floats",
        "luma": "floats",
        "bright_frames": "int",
    }
    unit: ClassVar[str] = "%"

    samples: int = Field(
        default=12, ge=2, description="frames looked at, spread evenly over the clip"
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
        description="share of a bar's inner edge along which the picture must differ from the bar",
    )
    inset_px: int = threshold(
        default=2, ge=0, description="taken off behind each bar, where the edge is soft"
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
        found = [bars[side] for side in SIDES] if bars else []
        _, height, width = frames.frames.shape
        return {
            "width": width,
            "height": height,
            "bars": [bar.width for bar in found],
            "change": [bar.change for bar in found],
            "luma": [bar.luma for bar in found],
            "bright_frames": len(luma),
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (100 * (1 - self.min_picture_share),)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """Keep and crop; drop where bars leave too little. The score is the area cut off, in %."""
        box = self._picture(evidence)
        whole = evidence["width"] * evidence["height"]
        share = box.width * box.height / whole
        score = 100 * (1 - share)
        if share < self.min_picture_share:
            return Verdict(
                keep=False,
                reason=f"bars leave {share:.1%} of the frame, "
                f"at least {self.min_picture_share:.1%} wanted",
                score=score,
            )
        return Verdict(keep=True, score=score, crop=box if share < 1 else None)

    def _picture(self, evidence: Evidence) -> Box:
        cuts = dict.fromkeys(SIDES, 0)
        if evidence["bright_frames"] >= self.min_frames:
            bars = dict(zip(SIDES, evidence["bars"], strict=True))
            change = dict(zip(SIDES, evidence["change"], strict=True))
            cuts = {side: self._cut(side, bars, change) for side in SIDES}
        width = max(0, evidence["width"] - cuts["left"] - cuts["right"])
        height = max(0, evidence["height"] - cuts["top"] - cuts["bottom"])
        # Encoders want even sizes; an odd pixel goes with the bar.
        if cuts["left"] or cuts["right"]:
            width -= width % 2
        if cuts["top"] or cuts["bottom"]:
            height -= height % 2
        return Box(cuts["left"], cuts["top"], width, height)

    def _cut(self, side: str, bars: dict[str, int], change: dict[str, float]) -> int:
        other = OPPOSITE[side]
        contrast = change[side]
        # In a dark shot one of two equal bars may have no light behind it: they stand together.
        if bars[other] and abs(bars[side] - bars[other]) <= PAIR_PX:
            contrast = max(contrast, change[other])
        found = bars[side] >= self.min_bar_px and contrast >= self.min_change
        return bars[side] + self.inset_px if found else 0
