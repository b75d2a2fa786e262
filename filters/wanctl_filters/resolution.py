"""Drops clips whose frames are too small or too elongated."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from wanctl.curate.api import Clip, ClipBatch, Evidence, Filter, FrameBatch, Verdicts, threshold


class Resolution(Filter):
    """Bounds on display size: rotation applied, pixels square, before any crop."""

    evidence: ClassVar[dict[str, str]] = {"width": "int", "height": "int"}
    unit: ClassVar[str] = "px"

    min_short_px: int = threshold(
        default=256, quantile=1, ge=1, description="smallest shorter side kept, in pixels"
    )
    min_width_px: int = threshold(default=1, ge=1, description="smallest width kept, in pixels")
    min_height_px: int = threshold(default=1, ge=1, description="smallest height kept, in pixels")
    min_aspect: float = threshold(
        default=1 / 3, gt=0, description="smallest width / height kept (0.5625 is vertical 9:16)"
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

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is the shorter side in pixels."""
        width, height = batch.numbers("width"), batch.numbers("height")
        shorter, aspect = np.minimum(width, height), width / height

        def rule(broken: np.ndarray, bound: str) -> tuple[np.ndarray, Callable[[int], str]]:
            return broken, lambda row: f"is {width[row]:.0f}x{height[row]:.0f} px{bound}"

        def elongated(row: int) -> str:
            return (
                f"is {width[row]:.0f}x{height[row]:.0f} px (aspect {aspect[row]:.2f}), "
                f"allowed are {self.min_aspect:.2f} to {self.max_aspect:.2f}"
            )

        return Verdicts.judge(
            shorter,
            rule(
                shorter < self.min_short_px,
                f", the shorter side must be at least {self.min_short_px}",
            ),
            rule(width < self.min_width_px, f", the width must be at least {self.min_width_px}"),
            rule(
                height < self.min_height_px, f", the height must be at least {self.min_height_px}"
            ),
            ((aspect < self.min_aspect) | (aspect > self.max_aspect), elongated),
        )
