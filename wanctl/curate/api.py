"""The filter API: the only module that a filter imports.

A filter is a frozen pydantic model in a module of its own; the module's name is its recipe name
and its fields are its recipe keys. It works in two separate steps:

* `measure` computes raw evidence from frames (per-frame lists, boxes). It runs once, and its
  result is stored under the hash of the fields that change it.
* `decide` turns evidence into a verdict with the thresholds. It runs again in milliseconds
  whenever a threshold changes. A field made with `threshold(...)` is used in deciding only.

Heavy libraries are imported inside methods, so that checking a recipe stays fast.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from wanctl.curate.columns import (
    CLIP_COLUMNS,
    Clip,
    ClipBatch,
    Drawing,
    Ragged,
    Verdict,
    Verdicts,
)
from wanctl.curate.quantiles import or_quantile
from wanctl.data.schemas import evidence_columns
from wanctl.errors import UserError
from wanctl.video.frame_sampling import sample_times
from wanctl.video.frames import Box, FrameBatch, FrameSpec
from wanctl.video.sources import open_source

__all__ = [
    "Batch",
    "Box",
    "Clip",
    "ClipBatch",
    "Drawing",
    "Embedder",
    "Evidence",
    "Field",
    "Filter",
    "FilterUnavailableError",
    "FrameBatch",
    "FrameSpec",
    "Ragged",
    "Trained",
    "UserError",
    "Verdict",
    "Verdicts",
    "open_source",
    "pick_device",
    "sample_times",
    "threshold",
]

Evidence: TypeAlias = Mapping[str, Any]

Batch: TypeAlias = ClipBatch
"""Earlier name of `ClipBatch`; kept because filters outside this repository import it."""

COLUMN_TYPES = ("float", "int", "bool", "string", "floats", "ints", "strings", "polygons")
"""Allowed values of `Filter.evidence`; `polygons` is, per sampled frame, a list of flat
[x0, y0, x1, y1, ...] lists in display pixels."""


class FilterUnavailableError(UserError):
    """A filter cannot run here; the message names the missing package or file."""


def pick_device(name: str) -> Any:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a torch.device that this machine has.

    Imports torch, so call it where a model is loaded.

    Raises:
        UserError: the name is no device, or this machine has no such device.
    """
    from wanctl.device import pick_device as pick  # noqa: PLC0415

    return pick(name)


def threshold(default: Any, *, quantile: float = 0, **field: Any) -> Any:
    """A field that is used in deciding only; changing it requires no new measurement.

    Args:
        default: its value where a recipe sets none.
        quantile: a recipe may write `p20`, the 20th percentile of the score over the data set.
            The number is the score per unit of the field: 1 (or True) where both have the same
            unit, 100 for a share that is compared with a score in %.
        field: `description` and bounds, as for pydantic's Field.
    """
    extra: dict[str, Any] = {"decides": True}
    if not quantile:
        return Field(default=default, json_schema_extra=extra, **field)
    extra["quantile"] = float(quantile)
    made = Field(default=default, json_schema_extra=extra, **field)
    accepted = float | str | None
    made.metadata.append(WrapValidator(or_quantile, json_schema_input_type=accepted))
    return made


@dataclass(frozen=True)
class Trained:
    """Result of `Filter.train`, which `wanctl filters fit` stores and prints.

    Attributes:
        tensors: tensors of the head's file.
        metadata: header of the head's file.
        report: figures on clips that were not used in training.
    """

    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]
    report: Mapping[str, Any]


class Measurer(BaseModel):
    """Base of filters and embedders: settings, requested frames, and measuring.

    Class attributes:
        version: increase it when `measure` changes; part of the evidence's hash.
        heavy: it runs a network. Heavy ones get several clips per call, in the engine's process;
            the others run in the decoding worker, where frames are not copied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: ClassVar[int] = 1
    heavy: ClassVar[bool] = False

    def frames(self) -> FrameSpec | None:
        """The frames that `measure` needs; None where the clip's row is enough."""
        return None

    def check(self) -> None:
        """Check that it can run here, without loading a model.

        Raises:
            FilterUnavailableError: a package or a weight file is missing; names it.
        """

    def models(self) -> Mapping[str, str]:
        """Models that it runs -> their licences, for the data card."""
        return {}

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Raw evidence of one clip, one value per column. Deterministic."""
        raise NotImplementedError

    def measure_many(
        self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Evidence]:
        """Evidence of several clips; networks process their frames in one batch.

        A clip's numbers must not depend on the other clips of the batch.
        """
        return [self.measure(clip, batch) for clip, batch in zip(clips, frames, strict=True)]

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
        """Eight hex digits that identify the measurement: hash of version and measuring fields."""
        values = self.model_dump(mode="json", include=set(self.measure_fields()))
        text = json.dumps({"version": self.version, **values}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


class Embedder(Measurer):
    """Embeds frames as vectors that several filters share.

    `measure` returns {"frames": int, "vector": (frames * D,) values}; each frame's vector has
    norm 1. Filters that return an equal embedder share one table, `embeddings/NAME@HASH`.

    Class attributes:
        name: name of the table.
    """

    name: ClassVar[str] = ""
    heavy: ClassVar[bool] = True


class Filter(Measurer):
    """Base of all filters. A filter overrides `decide` (one clip) or `decide_many` (columns).

    Class attributes:
        evidence: column name -> one of COLUMN_TYPES; empty where it only needs an embedder.
        unit: unit of `Verdict.score`, for the report ("%", "s", "px", "").
        scope: which clips `decide_many` must get together: any ("clip"), all of a source file
            ("source"), or the whole data set ("set").
        other_evidence: filters whose evidence `decide_many` gets too, as `ClipBatch.other(name)`,
            where the recipe has them, before this one or after.
    """

    evidence: ClassVar[dict[str, str]] = {}
    unit: ClassVar[str] = ""
    scope: ClassVar[Literal["clip", "source", "set"]] = "clip"
    other_evidence: ClassVar[tuple[str, ...]] = ()

    optional: bool = threshold(
        default=False, description="skip this filter, with a warning, where it cannot run"
    )

    def embedder(self) -> Embedder | None:
        """The embedder whose vectors `decide_many` needs in `ClipBatch.vectors`."""
        return None

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The verdict on one clip under the current thresholds. Pure and fast."""
        if type(self).decide_many is Filter.decide_many:
            raise NotImplementedError(
                f"{type(self).__name__} must override `decide` or `decide_many`"
            )
        row = {name: getattr(clip, name) for name in CLIP_COLUMNS}
        box = clip.view or (0, 0, clip.width, clip.height)
        batch = ClipBatch(
            clips=pa.Table.from_pylist([row]),
            evidence=pa.Table.from_pylist([dict(evidence)], schema=evidence_columns(self.evidence)),
            views=np.array([box], dtype=np.int32),
        )
        return self.decide_many(batch)[0]

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Verdicts on many clips. Override it where deciding one by one would be slow."""
        return Verdicts.of([self.decide(clip, evidence) for clip, evidence in batch.rows()])

    def drawings(self, batch: ClipBatch) -> list[list[Drawing]]:
        """What the report draws over the picture of each clip to show what was found.

        Called for the clips on the page, which are few: it may take milliseconds per clip. `batch`
        is as in `decide_many`, with all clips of a source file for filters of scope "source".
        Crops need no drawing: the report draws the crop of every verdict.
        """
        return [[] for _ in range(len(batch))]

    def shortest(self) -> tuple[float, int]:
        """(seconds, frames) of the shortest clip that it keeps; a kept span must have both."""
        return 0.0, 0

    def choices(self) -> Mapping[str, str]:
        """Labels for training it on marked clips -> their meaning; empty: not trainable."""
        return {}

    def train(self, batch: ClipBatch, marks: list[str] | None) -> Trained:
        """Train a head for this filter on clips that people marked.

        Args:
            batch: the marked clips only.
            marks: one of `choices` for each clip; None where there are no marks.
        """
        raise NotImplementedError

    def bounds(self) -> tuple[float, ...]:
        """Values of `Verdict.score` at which the verdict changes; drawn in the report."""
        return ()
