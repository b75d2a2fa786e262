"""Keys that `train_vae` and `train_dit` share."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat

from wanctl.recipe.section import Count, FrameCount, FrameRate, Height, Section, Width
from wanctl.recipe.train.optimizer import OptimizerSection

Factor = Annotated[float, Field(ge=0, le=1e6)]


def _one_name_as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_name_as_list, json_schema_input_type=str | tuple[str, ...]),
]


class Bucket(Section):
    """One training shape and how often it is drawn."""

    frames: FrameCount = Field(description="frames per sample; 1 (an image) or 4n+1")
    height: Height = Field(description="pixels, a multiple of 16")
    width: Width = Field(description="pixels, a multiple of 16")
    batch_size: Count | None = Field(
        default=None,
        description="samples per micro-batch of this bucket; null: as many as `tokens_per_batch` "
        "has room for, without that 1",
    )
    probability: PositiveFloat = Field(
        default=1.0,
        le=1e9,
        description="relative probability that a micro-batch, of all processes, has this shape",
    )
    from_step: int = Field(
        default=0,
        ge=0,
        description="first step that draws from it: images first, then short clips, then long ones",
    )


class TrainSection(Section):
    """Keys that `train-vae` and `train-dit` share."""

    steps: Count = Field(default=10_000, description="optimizer steps")
    buckets: tuple[Bucket, ...] = Field(
        default=(Bucket(frames=17, height=256, width=256),),
        min_length=1,
        description="shapes of training samples; of each frame count a clip serves the shape that "
        "crops it least, and so for every size (areas within a factor of 1.5 are one size)",
    )
    tokens_per_batch: Count | None = Field(
        default=None,
        description="tokens per micro-batch, from which the batch sizes of buckets follow that "
        "have none: latent frames x rows x columns, by the transformer's patches in train_dit",
    )
    weights: dict[str, dict[str, Factor]] = Field(
        default={},
        description="how much more often clips are drawn, by filter or column of the clips: value "
        "-> factor, e.g. {motion: {high: 2, low: 0.5}, aesthetic: {'>=5': 2}, source: "
        "{'*/stills/*': 0}}; the first value of a name that fits counts, 0 leaves clips out",
    )
    clip_fps: FrameRate = Field(default=16.0, description="frame rate to which clips are resampled")
    optimizer: OptimizerSection = OptimizerSection()
    accumulate: Count = Field(default=1, description="micro-batches per optimizer step")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no", description="autocast of the forward pass; parameters stay fp32"
    )
    ema_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="decay of the moving average of the parameters; 0: no average",
    )
    ema_device: Literal["same", "cpu"] = Field(
        default="same",
        description="where that average is kept: `same`, beside the parameters; `cpu`, in host "
        "memory, which saves 4 bytes of GPU memory per parameter and copies all trained ones to "
        "the host at each step",
    )
    holdout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of clips held out of training for the evaluation loss",
    )
    holdout_by: Literal["auto", "source", "clip"] = Field(
        default="auto",
        description="`source`: all clips of a file of footage; `clip`: single clips, beside others "
        "of the same file in training; `auto`: by source with ten files or more. Copies, as the "
        "filter `duplicates` labels them, are held out together",
    )
    log_every: Count = Field(default=10, description="steps between log lines")
    eval_every: Count = Field(default=500, description="steps between evaluations")
    preview_every: Count = Field(default=1000, description="steps between previews")
    checkpoint_every: Count = Field(default=500, description="steps between checkpoints")
    keep_checkpoints: Count = Field(default=2, description="newest checkpoints that are kept")
    trackers: tuple[str, ...] = Field(
        default=("tensorboard",),
        description="trackers of accelerate: `tensorboard`, `wandb`, `mlflow`, `comet_ml`, `aim`, "
        "`clearml`, `dvclive`, `swanlab`, `trackio`; files go to `tracker/` of the run",
    )
