"""Drops clips that are too short or too long."""

from typing import ClassVar

from wanctl.curate.api import Clip, Evidence, Filter, FrameBatch, Verdict, threshold


class Duration(Filter):
    """Bounds on a clip's length in seconds and in frames."""

    evidence: ClassVar[dict[str, str]] = {"duration_s": "float", "num_frames": "int"}
    unit: ClassVar[str] = "s"

    min_s: float = threshold(default=4.0, ge=0, description="shortest length kept, in seconds")
    max_s: float | None = threshold(
        default=None, gt=0, description="longest length kept, in seconds; null sets no bound"
    )
    min_frames: int = threshold(
        default=5,
        ge=1,
        description="fewest frames kept",
    )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Seconds and frames, from the clip's row."""
        return {"duration_s": clip.duration_s, "num_frames": clip.num_frames}

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.min_s,) if self.max_s is None else (self.min_s, self.max_s)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the length in seconds."""
        seconds, count = evidence["duration_s"], evidence["num_frames"]
        reason = ""
        if seconds < self.min_s:
            reason = f"lasts {seconds:.2f} s, at least {self.min_s:g} s wanted"
        elif self.max_s is not None and seconds > self.max_s:
            reason = f"lasts {seconds:.2f} s, at most {self.max_s:g} s allowed"
        elif count < self.min_frames:
            reason = f"has {count} frames, at least {self.min_frames} wanted"
        return Verdict(keep=not reason, reason=reason, score=seconds)
