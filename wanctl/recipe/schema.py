"""Every key of a recipe, with its default, its bounds and its meaning.

Defaults live here and in the modules of this package that hold other sections, nowhere else. Names
(variant, solver, task, backend, filter) are plain strings, which `validate.py` looks up in their
tables, so that a new row of a table needs no edit here. Rules between keys are model validators
that raise `ContradictionError`.
The descriptions are the reference manual: `wanctl recipe schema` prints them.
"""

import re
from typing import Any, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from wanctl.errors import unknown
from wanctl.recipe.captions.caption import CaptionSection
from wanctl.recipe.datasets import DatasetSection, ExportSection, TextImagesSection
from wanctl.recipe.generation.sampling import ParallelSection, SampleSection
from wanctl.recipe.model import ModelSection
from wanctl.recipe.section import (
    ContradictionError,
    Count,
    FrameRate,
    RaySection,
    Seconds,
    Section,
)
from wanctl.recipe.train.dit import TrainDiTSection
from wanctl.recipe.train.vae import TrainVAESection


class SplitSection(Section):
    """How footage is split into shots and clips."""

    detector: str = Field(
        default="auto",
        description="`transnetv2`, `adaptive`, `none`, or `auto`: TransNetV2 if it is installed",
    )
    threshold: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="TransNetV2: probability above which a frame is a transition",
    )
    adaptive_threshold: PositiveFloat = Field(
        default=3.0,
        description="adaptive detector: frame difference over the mean of its neighbours",
    )
    max_fps: FrameRate = Field(
        default=30.0, description="frames per second that the detector reads at most"
    )
    trim_frames: int = Field(
        default=2,
        ge=0,
        le=10_000,
        description="source frames removed on both sides of a transition",
    )
    min_clip_s: float = Field(default=0.5, ge=0, le=1e7, description="shorter shots become no clip")
    max_clip_s: Seconds | None = Field(
        default=None, description="longer shots are divided into equal clips of at most this length"
    )
    max_damaged: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="share of a file's frames that may be damaged; those are left out of clips, "
        "with more the file is set aside; 0 sets every file with damage aside",
    )
    max_unplaced: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of a file's frames that may have no time of their own (none, that of "
        "another frame, or one before that of the frame in front); those are left out of clips",
    )

    @model_validator(mode="after")
    def _pieces_are_clips(self) -> Self:
        if self.max_clip_s is not None and self.max_clip_s < self.min_clip_s:
            raise ContradictionError(
                "max_clip_s",
                f"got {self.max_clip_s:g}, below min_clip_s ({self.min_clip_s:g}), so that no "
                "piece would become a clip; raise it, or lower min_clip_s",
            )
        return self


class DecodeSection(Section):
    """Limits of the processes that decode footage."""

    workers: int = Field(default=2, gt=0, le=1024, description="decoding processes")
    timeout_s: Seconds = Field(
        default=120.0, description="seconds that one task on a file or clip may take"
    )
    timeout_per_gb_s: float = Field(
        default=1200.0,
        ge=0,
        le=1e7,
        description="additional seconds per gigabyte of the file, for films",
    )
    memory_gb: float = Field(
        default=4.0, ge=0.1, le=100_000, description="address space of one worker"
    )


class BalanceSection(Section):
    """How often training draws each group of clips: a factor in the `weight` column."""

    by: str = Field(description="the filter whose labels are the groups: motion, category ...")
    shares: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="label -> its share of all draws, together at most 1; the other groups share "
        "the rest in proportion to their size",
    )
    power: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="without `shares`, a group is drawn in proportion to its size to this power: "
        "0.5 is the square root, 0 draws all groups equally often",
    )

    @field_validator("shares")
    @classmethod
    def _at_most_all(cls, shares: dict[str, float]) -> dict[str, float]:
        if (total := sum(shares.values())) > 1 + 1e-9:
            raise ValueError(f"got shares that sum to {total:g}; together they are at most 1")
        return shares


class CurateSection(Section):
    """From a folder of footage to a table of clips with measurements and a selection."""

    engine: str = Field(default="local", description="`local` or `ray`; both write the same tables")
    ray: RaySection = RaySection()
    batch_clips: Count = Field(
        default=8,
        description="clips per batch of a network; the frames of all of them are in memory",
    )
    split: SplitSection = SplitSection()
    decode: DecodeSection = DecodeSection()
    filters: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict,
        description="filter name -> its own keys (`wanctl filters list`); the order is the funnel",
    )
    balance: BalanceSection | None = Field(
        default=None, description="balances groups of clips; null: no balancing"
    )
    shard_sources: Count = Field(default=16, description="source files per part of `clips/`")
    max_crop_loss: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="a clip is dropped if its crop removes a larger share of the frame",
    )

    @model_validator(mode="after")
    def _balances_by_its_own_filter(self) -> Self:
        if self.balance is not None and self.balance.by not in self.filters:
            message = unknown("filter of this recipe", self.balance.by, self.filters)
            raise ContradictionError("balance.by", message)
        return self


class Recipe(Section):
    """All sections of a recipe."""

    base: str | None = Field(
        default=None, description="recipe from which this one inherits: a shipped name or a file"
    )
    seed: int = Field(default=0, ge=0, description="of all random choices of training")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dataset: DatasetSection = DatasetSection()
    curate: CurateSection = CurateSection()
    caption: CaptionSection = CaptionSection()
    export: ExportSection = ExportSection()
    text_images: TextImagesSection = TextImagesSection()
    model: ModelSection = ModelSection()
    train_vae: TrainVAESection = TrainVAESection()
    train_dit: TrainDiTSection = TrainDiTSection()
    sample: SampleSection = SampleSection()
    parallel: ParallelSection = ParallelSection()

    @field_validator("device")
    @classmethod
    def _device_name(cls, name: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
            raise ValueError(f"got {name!r}; allowed are auto, cpu, cuda, cuda:N")
        return name
