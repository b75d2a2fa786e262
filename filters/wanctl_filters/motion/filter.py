"""Sorts clips by their motion into six tiers, and weights or drops them by tier."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

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
from wanctl_filters.motion.bursts import measure_bursts
from wanctl_filters.motion.cells import FLOOR, FLOORS
from wanctl_filters.motion.tiers import TIERS, Features, features, sort_into_tiers
from wanctl_filters.shared.bars import active_area

Policy = float | Literal["drop"]


class Tiers(BaseModel):
    """The policy of each tier: a sampling weight, or `drop`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimal: Policy = Field(default=1.0, description="pronounced, smooth motion of a clear subject")
    medium: Policy = Field(default=0.7, description="small, several or partly hidden subjects")
    static: Policy = Field(default=0.3, description="hardly anything moves: talks, interviews")
    camera: Policy = Field(default=0.2, description="only the camera moves: aerials, stills")
    low_quality: Policy = Field(default="drop", description="crowded, hidden or incoherent motion")
    shaky: Policy = Field(default="drop", description="the camera shakes")


class Motion(Filter):
    """Camera motion and motion relative to it, from optical flow in bursts of neighbouring frames.

    Neighbours at 24 to 30 fps give the camera's path, from the part of the frame that moves as one;
    what is left of it without its smooth part is shake. Frames 0.12 s apart give the motion of
    everything else: what flow predicts better than the camera does, and what parallax cannot
    cause. Tiers are decided on the part of the frame that the crops of earlier filters leave. The
    score is the speed of moving parts relative to the camera, in % of the long side per second.
    """

    version: ClassVar[int] = 5
    evidence: ClassVar[dict[str, str]] = {
        "width": "int",
        "height": "int",
        "area": "ints",
        "pairs": "ints",
        "time_s": "floats",
        "gap_s": "floats",
        "pan": "floats",
        "tilt": "floats",
        "zoom": "floats",
        "roll": "floats",
        "trust": "floats",
        "camera": "float",
        "shake": "float",
        "speed": "float",
        "compact": "float",
        "conflict": "float",
        "lost": "float",
        "untrusted": "float",
        "textured": "float",
        "moving": "floats",
        "zones": "ints",
    }
    unit: ClassVar[str] = "%"

    bursts: int = Field(default=4, ge=1, description="bursts measured, spread over the clip")
    burst: int = Field(default=20, ge=3, description="neighbouring frames in each burst")
    long_side_px: int = Field(default=256, ge=64, description="frames are scaled down to this")
    parallax: float = Field(
        default=1.5,
        ge=0,
        description="near and far parts of a landscape move differently, but differ by less than "
        "the camera's own motion times this",
    )
    tiers: Tiers = threshold(default=Tiers(), description="per tier a sampling weight, or drop")
    camera_speed: float = threshold(
        default=0.011,
        ge=0,
        description="a slower camera counts as still; long sides per second",
    )
    moving_speed: float = threshold(
        default=FLOORS[FLOOR],
        ge=FLOORS[0],
        le=FLOORS[-1],
        description="parts that are faster relative to the camera move; long sides per second",
    )
    min_area: float = threshold(
        default=0.055,
        ge=0,
        le=1,
        description="least share of the frame that moves in clips with motion, times 0.6 plus its "
        "compactness",
    )
    clear_area: float = threshold(
        default=0.1, ge=0, le=1, description="least share of the frame that moves in optimal clips"
    )
    min_compact: float = threshold(
        default=0.6,
        ge=0,
        description="compactness of the moving part in optimal clips: 1 for a disk, 0.2 for two "
        "objects far from each other",
    )
    max_shake: float = threshold(
        default=3.0,
        ge=0,
        description="acceleration of the camera without the smooth part of its path; long sides "
        "per second squared",
    )
    max_conflict: float = threshold(
        default=0.3, ge=0, le=1, description="how much the motion of neighbouring parts may differ"
    )
    max_lost: float = threshold(
        default=0.5,
        ge=0,
        le=1,
        description="share of the frame whose motion may be impossible to estimate",
    )

    def frames(self) -> FrameSpec:
        """Neighbouring frames at 24 to 30 fps, every second frame at 48 to 60 fps."""
        return FrameSpec(
            count=self.bursts,
            burst=self.burst,
            burst_gap_s=0.03,
            long_side_px=self.long_side_px,
            color="gray",
        )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Camera motion per pair of frames, and a summary of the motion relative to it."""
        assert frames is not None
        rows, columns = active_area(frames.frames[:: self.burst])
        active = np.ascontiguousarray(frames.frames[:, rows, columns])
        height, width = active.shape[1:]
        scale = frames.scale
        area = [columns.start / scale, rows.start / scale, width / scale, height / scale]
        return {
            "width": clip.width,
            "height": clip.height,
            "area": [round(edge) for edge in area],
            **measure_bursts(
                active, frames.times_s, gap_s=0.03, burst=self.burst, parallax=self.parallax
            ),
        }

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Sort clips into tiers, then apply the policy of each tier."""
        clip_features = features(batch, moving_speed=self.moving_speed)
        tier = self._tiers(clip_features)
        policy = [getattr(self.tiers, name) for name in TIERS]
        dropped = np.array([each == "drop" for each in policy])
        weight = np.array([0.0 if each == "drop" else each for each in policy])
        names = np.array(TIERS, dtype=object)

        def why(row: int) -> str:
            return f"{TIERS[tier[row]]} motion: {clip_features.summary(row)}"

        return Verdicts.judge(
            100 * clip_features.speed,
            (dropped[tier], why),
            weight=np.where(dropped[tier], 1.0, weight[tier]),
            label=names[tier],
        )

    def _tiers(self, clip_features: Features) -> np.ndarray:
        return sort_into_tiers(
            clip_features,
            camera_speed=self.camera_speed,
            min_area=self.min_area,
            clear_area=self.clear_area,
            min_compact=self.min_compact,
            max_shake=self.max_shake,
            max_conflict=self.max_conflict,
            max_lost=self.max_lost,
        )
