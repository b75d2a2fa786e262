"""Every key of a recipe, with its default, its bounds and its meaning.

Defaults live here and in the modules of this package that hold other sections, nowhere else. Names
(variant, solver, task, backend, filter) are plain strings, which `validate.py` looks up in their
tables, so that a new row of a table needs no edit here. Rules between keys are model validators
that raise `ContradictionError`.
The descriptions are the reference manual: `wanctl recipe schema` prints them.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from wanctl.errors import unknown
from wanctl.recipe.datasets import DatasetSection, ExportSection, TextImagesSection
from wanctl.recipe.model import ModelSection
from wanctl.recipe.sampling import ParallelSection, SampleSection
from wanctl.recipe.section import (
    ContradictionError,
    FrameCount,
    FrameRate,
    Height,
    LocalPath,
    Section,
    Width,
)

Beta = Annotated[float, Field(ge=0, lt=1)]


class Bucket(Section):
    """One training shape and how often it is drawn."""

    frames: FrameCount = Field(description="frames per sample; 1 (an image) or 4n+1")
    height: Height = Field(description="pixels, a multiple of 16")
    width: Width = Field(description="pixels, a multiple of 16")
    batch_size: PositiveInt = Field(default=1, description="samples per micro-batch of this bucket")
    probability: PositiveFloat = Field(
        default=1.0, description="relative probability that a step draws from this bucket"
    )
    from_step: int = Field(
        default=0,
        ge=0,
        description="first step that draws from it: images first, then short clips, then long ones",
    )


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
        default=2, ge=0, description="source frames removed on both sides of a transition"
    )
    min_clip_s: float = Field(default=0.5, ge=0, description="shorter shots become no clip")
    max_clip_s: PositiveFloat | None = Field(
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
        description="share of a file's frames that may have no time of their own, or one before "
        "that of the frame in front; those are left out of clips",
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

    workers: PositiveInt = Field(default=2, description="decoding processes")
    timeout_s: PositiveFloat = Field(
        default=120.0, description="seconds that one task on a file or clip may take"
    )
    timeout_per_gb_s: float = Field(
        default=1200.0, ge=0, description="additional seconds per gigabyte of the file, for films"
    )
    memory_gb: PositiveFloat = Field(default=4.0, description="address space of one worker")


class RaySection(Section):
    """Resources that `engine: ray` requests of the cluster."""

    address: str | None = Field(
        default=None,
        description="of a running cluster (`auto`, `ray://HOST:10001`); null: this machine only",
    )
    cpus: PositiveInt = Field(
        default=2, description="cores of one actor, which runs as many decoding processes"
    )
    gpus: float = Field(
        default=0.0, ge=0, description="share of a GPU per actor; 0.25 puts four on one GPU"
    )
    actors: PositiveInt | None = Field(
        default=None, description="number of actors; null: as many as the cluster has resources for"
    )
    retries: int = Field(
        default=3, ge=0, description="how often a part is repeated after its actor was lost"
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
    batch_clips: PositiveInt = Field(
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
    shard_sources: PositiveInt = Field(default=16, description="source files per part of `clips/`")
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


class CaptionSection(Section):
    """Captioning backends and what they read."""

    backends: tuple[str, ...] = Field(
        default=("sidecar", "template"),
        description="tried in this order for each clip: `sidecar`, `template`, an installed "
        "plug-in",
    )
    sidecar_dir: LocalPath | None = Field(
        default=None,
        description="folder with NAME.txt or NAME.json per footage file; null: the footage's "
        "folder",
    )
    quote_text: Literal["append", "drop", "ignore"] = Field(
        default="append",
        description="if a model's caption omits text that OCR read: append the quoted text, drop "
        "the caption, or ignore it",
    )


class TimestepsSection(Section):
    """Distribution of the noise levels that training draws."""

    law: str = Field(default="logit_normal", description="`logit_normal` or `uniform`")
    mean: float = Field(
        default=0.0, description="logit_normal: mean of the normal distribution before the sigmoid"
    )
    std: PositiveFloat = Field(
        default=1.0, description="logit_normal: standard deviation of that distribution"
    )
    shift: PositiveFloat = Field(
        default=3.0,
        description="sigma' = s*sigma / (1 + (s-1)*sigma); larger for larger videos (SD3, eq. 23)",
    )


class OptimizerSection(Section):
    """AdamW and its learning-rate schedule."""

    lr: PositiveFloat = Field(default=1e-4, description="peak learning rate")
    warmup_steps: int = Field(default=100, ge=0, description="steps of linear warm-up")
    decay: Literal["constant", "cosine"] = Field(
        default="constant",
        description="after the warm-up; cosine ends at 5 % of `lr` at the last step",
    )
    weight_decay: float = Field(
        default=1e-3, ge=0, description="on matrices and kernels only, not on norms and biases"
    )
    betas: tuple[Beta, Beta] = Field(
        default=(0.9, 0.999), description="decay rates of AdamW's two moments"
    )
    clip_norm: PositiveFloat = Field(default=1.0, description="maximum gradient norm")


class TrainSection(Section):
    """Keys that `train-vae` and `train-dit` share."""

    steps: PositiveInt = Field(default=10_000, description="optimizer steps")
    buckets: tuple[Bucket, ...] = Field(
        default=(Bucket(frames=17, height=256, width=256),),
        min_length=1,
        description="shapes of training samples; of each frame count a clip serves the best",
    )
    clip_fps: FrameRate = Field(default=16.0, description="frame rate to which clips are resampled")
    optimizer: OptimizerSection = OptimizerSection()
    accumulate: PositiveInt = Field(default=1, description="micro-batches per optimizer step")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no", description="autocast of the forward pass; parameters stay fp32"
    )
    ema_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="decay of the moving average of the parameters; 0: no average",
    )
    holdout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of clips held out of training for the evaluation loss",
    )
    log_every: PositiveInt = Field(default=10, description="steps between log lines")
    eval_every: PositiveInt = Field(default=500, description="steps between evaluations")
    preview_every: PositiveInt = Field(default=1000, description="steps between previews")
    checkpoint_every: PositiveInt = Field(default=500, description="steps between checkpoints")
    keep_checkpoints: PositiveInt = Field(default=2, description="newest checkpoints that are kept")
    trackers: tuple[str, ...] = Field(
        default=("tensorboard",),
        description="trackers of accelerate: `tensorboard`, `wandb`",
    )


class VAELossSection(Section):
    """Weights of the VAE loss (Wan report 2.2: 3, 3e-6, 3)."""

    l1: float = Field(default=3.0, ge=0, description="L1 distance of pixels")
    kl: float = Field(default=3e-6, ge=0, description="KL divergence of the latents from N(0, 1)")
    perceptual: float = Field(default=3.0, ge=0, description="ST-LPIPS distance")
    perceptual_frames: PositiveInt | None = Field(
        default=None,
        description="frames per sample, drawn at each step, that ST-LPIPS compares; null: all",
    )


class TrainVAESection(TrainSection):
    """Keys of `wanctl train-vae`."""

    loss: VAELossSection = VAELossSection()


class TrainDiTSection(TrainSection):
    """Keys of `wanctl train-dit`."""

    timesteps: TimestepsSection = TimestepsSection()
    text_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of captions replaced by the empty prompt"
    )
    windows_per_clip: PositiveInt = Field(
        default=4, description="windows per clip, evenly spaced, that are encoded and cached"
    )
    preview_prompts: tuple[str, ...] = Field(
        default=(), description="prompts sampled during training; empty: captions of held-out clips"
    )
    preview_steps: PositiveInt = Field(default=20, description="solver steps of a preview")


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
