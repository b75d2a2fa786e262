"""What a filter is. The only module a filter imports.

A filter is a frozen pydantic model in a module of its own; the module's name is its recipe name
and its fields are its recipe keys. It works in two steps that never mix:

* `measure` looks at frames and returns raw evidence (per-frame lists, boxes). It is run once and
  stored under the hash of the fields that change it.
* `decide` turns evidence into a verdict with the thresholds. It is run again in milliseconds
  whenever a threshold changes. A field made with `threshold(...)` takes part in deciding only.

Heavy libraries are imported inside methods, so that checking a recipe stays quick.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from wanctl.data.frames import Box, FrameBatch, FrameSpec
from wanctl.errors import UserError

__all__ = [
    "Box",
    "Clip",
    "Evidence",
    "Field",
    "Filter",
    "FilterUnavailableError",
    "FrameBatch",
    "FrameSpec",
    "Verdict",
    "threshold",
]

Evidence: TypeAlias = Mapping[str, Any]

COLUMN_TYPES = ("float", "int", "bool", "string", "floats", "ints", "strings", "polygons")
"""Allowed values of `Filter.evidence`; `polygons` is, per sampled frame, a list of flat
[x0, y0, x1, y1, ...] lists in display pixels."""


class FilterUnavailableError(UserError):
    """A filter cannot run here: says which package or file is missing and how to get it."""


@dataclass(frozen=True)
class Clip:
    """One row of `clips/`: a span of a source file, not yet cut out.

    Sizes are display sizes: rotation applied, pixels square.
    """

    id: str
    source: str
    start_s: float
    end_s: float
    num_frames: int
    fps: float
    width: int
    height: int
    vfr: bool
    rotation: int
    has_audio: bool
    corrupt_share: float

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Verdict:
    """What a filter makes of a clip.

    Attributes:
        keep: whether the clip stays.
        reason: why not, with the number and the bound: "text covers 7.1 %, allowed 2 %".
        score: the number the threshold was compared with; drawn in the report's histogram.
        crop: the rectangle to keep, in display pixels; None keeps the whole frame.
        weight: sampling weight in training.
        tier: a class name, where the filter sorts rather than drops.
    """

    keep: bool
    reason: str = ""
    score: float | None = None
    crop: Box | None = None
    weight: float = 1.0
    tier: str | None = None


def threshold(default: Any, **field: Any) -> Any:
    """A field that takes part in deciding only; changing it never measures again."""
    return Field(default=default, json_schema_extra={"decides": True}, **field)


class Filter(BaseModel):
    """Base of all filters.

    Class attributes:
        version: raise it when `measure` changes; part of the evidence's hash.
        evidence: column name -> one of COLUMN_TYPES.
        unit: unit of `Verdict.score`, for the report ("%", "s", "px", "").
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: ClassVar[int] = 1
    evidence: ClassVar[dict[str, str]] = {}
    unit: ClassVar[str] = ""

    optional: bool = threshold(
        default=False, description="skip this filter, with a warning, where it cannot run"
    )

    def frames(self) -> FrameSpec | None:
        """The frames `measure` wants; None when the clip's row is enough."""
        return None

    def check(self) -> None:
        """Make sure that the filter can run here, without loading a model.

        Raises:
            FilterUnavailableError: a package or a weight file is missing; says which.
        """

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Raw evidence of one clip, one value per column of `evidence`. Deterministic."""
        raise NotImplementedError

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The verdict under the current thresholds. Pure and quick."""
        raise NotImplementedError

    def bounds(self) -> tuple[float, ...]:
        """Values of `Verdict.score` at which the verdict flips; drawn in the report."""
        return ()

    @classmethod
    def measure_fields(cls) -> tuple[str, ...]:
        """Names of the fields that change the evidence."""
        extras = {name: info.json_schema_extra for name, info in cls.model_fields.items()}
        return tuple(
            name
            for name, extra in extras.items()
            if not (isinstance(extra, dict) and extra.get("decides"))
        )

    def config_hash(self) -> str:
        """Eight hex digits naming what was measured: version and measuring fields."""
        values = self.model_dump(mode="json", include=set(self.measure_fields()))
        text = json.dumps({"version": self.version, **values}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
