"""Drops clips that are too short or too long."""

from typing import ClassVar

import numpy as np

from wanctl.curate.api import Clip, ClipBatch, Evidence, Filter, FrameBatch, Verdicts, threshold


class Duration(Filter):
    """Bounds on a clip's length in seconds and in frames."""

    evidence: ClassVar[dict[str, str]] = {"duration_s": "float", "num_frames": "int"}
    unit: ClassVar[str] = "s"

    min_s: float = threshold(
        default=4.0, quantile=1, ge=0, description="shortest length kept, in seconds"
    )
    max_s: float | None = threshold(
        default=None,
        quantile=1,
        gt=0,
        description="longest length kept, in seconds; null sets no bound",
    )
    min_frames: int = threshold(
        default=5,
        ge=1,
        description="fewest frames kept",
    )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Duration in seconds and number of frames, from the clip's row."""
        return {"duration_s": clip.duration_s, "num_frames": clip.num_frames}

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.min_s,) if self.max_s is None else (self.min_s, self.max_s)

    def shortest(self) -> tuple[float, int]:
        """Both lower bounds; a percentile counts once it is a number."""
        return self.min_s if isinstance(self.min_s, int | float) else 0.0, self.min_frames

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is the length in seconds."""
        seconds, count = batch.numbers("duration_s"), batch.numbers("num_frames")
        longest = np.inf if self.max_s is None else self.max_s
        return Verdicts.judge(
            seconds,
            (
                seconds < self.min_s,
                lambda row: f"lasts {seconds[row]:.2f} s, at least {self.min_s:g} s wanted",
            ),
            (
                seconds > longest,
                lambda row: f"lasts {seconds[row]:.2f} s, at most {self.max_s:g} s allowed",
            ),
            (
                count < self.min_frames,
                lambda row: f"has {count[row]:.0f} frames, at least {self.min_frames} wanted",
            ),
        )
