"""Drops clips whose picture is too small or too elongated."""

from typing import ClassVar

from wanctl.curate.api import Clip, Evidence, Filter, FrameBatch, Verdict, threshold


class Resolution(Filter):
    """Bounds on display size: rotation applied, pixels square, before any crop."""

    evidence: ClassVar[dict[str, str]] = {"width": "int", "height": "int"}
    unit: ClassVar[str] = "px"

    min_short_px: int = threshold(
        default=256, ge=1, description="smallest shorter side kept, in pixels"
    )
    min_width_px: int = threshold(default=1, ge=1, description="smallest width kept, in pixels")
    min_height_px: int = threshold(default=1, ge=1, description="smallest height kept, in pixels")
    min_aspect: float = threshold(
        default=1 / 3, gt=0, description="smallest width / height kept (0.5625 is upright 9:16)"
    )
    max_aspect: float = threshold(
        default=3.0, gt=0, description="largest width / height kept (1.78 is 16:9)"
    )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Display size in pixels, from the clip's row."""
        return {"width": clip.width, "height": clip.height}

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (float(self.min_short_px),)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the shorter side in pixels."""
        width, height = evidence["width"], evidence["height"]
        aspect = width / height
        size = f"is {width}x{height} px"
        reason = ""
        if min(width, height) < self.min_short_px:
            reason = f"{size}, the shorter side must be at least {self.min_short_px}"
        elif width < self.min_width_px:
            reason = f"{size}, the width must be at least {self.min_width_px}"
        elif height < self.min_height_px:
            reason = f"{size}, the height must be at least {self.min_height_px}"
        elif not self.min_aspect <= aspect <= self.max_aspect:
            reason = (
                f"{size} (aspect {aspect:.2f}), "
                f"allowed are {self.min_aspect:.2f} to {self.max_aspect:.2f}"
            )
        return Verdict(keep=not reason, reason=reason, score=float(min(width, height)))
