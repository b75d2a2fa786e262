"""Every key a recipe may hold, with its default, its bounds and its meaning.

Defaults live here and in the modules of this package whose sections it takes, nowhere else. Names
(variant, solver, task, backend, filter) are plain strings, resolved by their table when a command
starts, so that a new row needs no edit here.
The descriptions are the reference manual: `wanctl recipe schema` prints them.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from wanctl.errors import unknown
from wanctl.recipe.datasets import DatasetSection, ExportSection, TextImagesSection
from wanctl.recipe.model import ModelSection
from wanctl.recipe.sampling import ParallelSection, SampleSection
from wanctl.recipe.section import ContradictionError, FrameCount, Height, Section, Width

Beta = Annotated[float, Field(ge=0, lt=1)]


class Bucket(Section):
    """One training shape and how often it is drawn."""

    frames: FrameCount = Field(description="frames per sample; 1 (an image) or 4n+1")
    height: Height = Field(description="pixels, a multiple of 16")
    width: Width = Field(description="pixels, a multiple of 16")
    batch_size: PositiveInt = Field(default=1, description="samples per step in this bucket")
    probability: PositiveFloat = Field(
        default=1.0, description="relative chance that a step draws from this bucket"
    )
    from_step: int = Field(
        default=0,
        ge=0,
        description="not drawn before this step: images first, then short clips, then long ones",
    )


class SplitSection(Section):
    """How footage is cut into shots."""

    detector: str = Field(
        default="auto",
        description="`transnetv2`, `adaptive`, `none`, or `auto`: TransNetV2 where it is installed",
    )
    threshold: float = Field(
        default=0.4, gt=0, lt=1, description="TransNetV2 probability that counts as a transition"
    )
    adaptive_threshold: PositiveFloat = Field(
        default=3.0, description="adaptive detector: ratio to the neighbourhood's mean change"
    )
    max_fps: PositiveFloat = Field(
        default=30.0, description="frames per second the detector sees at most"
    )
    trim_frames: int = Field(
        default=2, ge=0, description="source frames cut away on both sides of a transition"
    )
    min_clip_s: float = Field(default=0.5, ge=0, description="shots shorter than this make no clip")
    max_clip_s: PositiveFloat | None = Field(
        default=None, description="longer shots are cut into equal pieces of at most this length"
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
    """The guard around footage: it is decoded in processes that may be killed."""

    workers: PositiveInt = Field(default=2, description="decoding processes")
    timeout_s: PositiveFloat = Field(
        default=120.0, description="seconds that work on one file or one clip of it may take"
    )
    timeout_per_gb_s: float = Field(
        default=1200.0, ge=0, description="seconds more for each gigabyte of the file: films"
    )
    memory_gb: PositiveFloat = Field(default=4.0, description="memory one worker may map")


class RaySection(Section):
    """What `engine: ray` asks the cluster for."""

    address: str | None = Field(
        default=None,
        description="of a running cluster (`auto`, `ray://HOST:10001`); null: this machine alone",
    )
    cpus: PositiveInt = Field(default=2, description="cores of one actor: as many decode workers")
    gpus: float = Field(
        default=0.0, ge=0, description="share of a GPU of one actor; 0.25 puts four on one GPU"
    )
    actors: PositiveInt | None = Field(
        default=None, description="how many; null: as many as the cluster has room for"
    )
    retries: int = Field(
        default=3, ge=0, description="how often a part is begun again after its actor was lost"
    )


class BalanceSection(Section):
    """How often each group of clips is drawn in training: a factor in the `weight` column."""

    by: str = Field(description="the filter whose labels are the groups: motion, category ...")
    shares: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="label -> its share of all draws, together at most 1; groups that are not "
        "named share the rest by size",
    )
    power: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="without `shares`, groups are drawn by their size to this power: 0.5 is the "
        "square root, 0 draws all groups alike",
    )

    @field_validator("shares")
    @classmethod
    def _at_most_all(cls, shares: dict[str, float]) -> dict[str, float]:
        if (total := sum(shares.values())) > 1 + 1e-9:
            raise ValueError(f"got shares that sum to {total:g}; together they are at most 1")
        return shares


class CurateSection(Section):
    """From a folder of footage to a table of clips, measured and decided."""

    engine: str = Field(
        default="local", description="`local` or `ray`; the tables come out the same"
    )
    ray: RaySection = RaySection()
    batch_clips: PositiveInt = Field(
        default=8, description="clips that a network sees at once; frames of so many are held"
    )
    split: SplitSection = SplitSection()
    decode: DecodeSection = DecodeSection()
    filters: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict,
        description="filter name -> its own keys (`wanctl filters list`); the order is the funnel",
    )
    balance: BalanceSection | None = Field(
        default=None, description="evens out groups of clips; null: leaves them as they come"
    )
    shard_sources: PositiveInt = Field(default=16, description="source files per part of `clips/`")
    max_crop_loss: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="a crop that removes more of the picture drops the clip",
    )

    @model_validator(mode="after")
    def _balances_by_its_own_filter(self) -> Self:
        if self.balance is not None and self.balance.by not in self.filters:
            message = unknown("filter of this recipe", self.balance.by, self.filters)
            raise ContradictionError("balance.by", message)
        return self


class CaptionSection(Section):
    """Who writes the captions."""

    backends: tuple[str, ...] = Field(
        default=("sidecar", "template"),
        description="tried in order for each clip: `sidecar`, `template`, or an installed plug-in",
    )
    sidecar_dir: Path | None = Field(
        default=None,
        description="folder with NAME.txt or NAME.json per footage file; default: beside it",
    )
    quote_text: Literal["append", "drop", "ignore"] = Field(
        default="append",
        description="a model's caption that leaves out text that OCR read: quote it at the end, "
        "drop the caption, or let it be",
    )


class TimestepsSection(Section):
    """How training draws its noise levels."""

    law: str = Field(default="logit_normal", description="`logit_normal` or `uniform`")
    mean: float = Field(default=0.0, description="mean of the normal before the sigmoid")
    std: PositiveFloat = Field(default=1.0, description="its standard deviation")
    shift: PositiveFloat = Field(
        default=3.0, description="sigma' = s*sigma / (1 + (s-1)*sigma); larger for larger videos"
    )


class OptimizerSection(Section):
    """AdamW and its learning-rate schedule."""

    lr: PositiveFloat = Field(default=1e-4, description="peak learning rate")
    warmup_steps: int = Field(default=100, ge=0, description="linear warm-up")
    decay: Literal["constant", "cosine"] = Field(
        default="constant", description="what follows the warm-up, to 5 % of `lr` at the last step"
    )
    weight_decay: float = Field(default=1e-3, ge=0, description="on matrices only, not on norms")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Adam's moments")
    clip_norm: PositiveFloat = Field(default=1.0, description="gradient norm is clipped to this")


class TrainSection(Section):
    """What `train-vae` and `train-dit` share: one loop."""

    steps: PositiveInt = Field(default=10_000, description="optimizer steps")
    buckets: tuple[Bucket, ...] = Field(
        default=(Bucket(frames=17, height=256, width=256),), min_length=1
    )
    clip_fps: PositiveFloat = Field(default=16.0, description="frame rate clips are resampled to")
    optimizer: OptimizerSection = OptimizerSection()
    accumulate: PositiveInt = Field(default=1, description="micro-batches per optimizer step")
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="0 turns the average off")
    holdout: float = Field(
        default=0.1, ge=0, lt=1, description="share of clips kept for the held-out loss"
    )
    log_every: PositiveInt = 10
    eval_every: PositiveInt = 500
    preview_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 500
    keep_checkpoints: PositiveInt = 2
    trackers: tuple[str, ...] = Field(
        default=("tensorboard",),
        description="any tracker accelerate knows: tensorboard, wandb",
    )


class VAELossSection(Section):
    """Weights of the reconstruction objective (Wan report 2.2: 3, 3e-6, 3)."""

    l1: float = Field(default=3.0, ge=0)
    kl: float = Field(default=3e-6, ge=0)
    perceptual: float = Field(default=3.0, ge=0, description="ST-LPIPS, from its package")
    perceptual_frames: PositiveInt | None = Field(
        default=None,
        description="frames per sample and step that ST-LPIPS looks at, drawn anew; null: all",
    )


class TrainVAESection(TrainSection):
    """`wanctl train-vae`."""

    loss: VAELossSection = VAELossSection()


class TrainDiTSection(TrainSection):
    """`wanctl train-dit`."""

    timesteps: TimestepsSection = TimestepsSection()
    text_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of captions replaced by the empty prompt"
    )
    windows_per_clip: PositiveInt = Field(
        default=4, description="evenly spaced windows of each clip that are encoded and cached"
    )
    preview_prompts: tuple[str, ...] = Field(
        default=(), description="prompts sampled during training; empty: captions of held-out clips"
    )
    preview_steps: PositiveInt = 20


class Recipe(Section):
    """One file for all commands."""

    base: str | None = Field(default=None, description="recipe this one starts from")
    seed: int = Field(default=0, ge=0, description="of everything random in training")
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
