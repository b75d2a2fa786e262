"""Keys of `train_vae` and `train_dit`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat

from wanctl.recipe.section import (
    Count,
    FrameCount,
    FrameRate,
    Height,
    Section,
    Steps,
    Width,
)
from wanctl.recipe.train.optimizer import OptimizerSection
from wanctl.recipe.train.vae_losses import VAELossSection


class Bucket(Section):
    """One training shape and how often it is drawn."""

    frames: FrameCount = Field(description="frames per sample; 1 (an image) or 4n+1")
    height: Height = Field(description="pixels, a multiple of 16")
    width: Width = Field(description="pixels, a multiple of 16")
    batch_size: Count = Field(default=1, description="samples per micro-batch of this bucket")
    probability: PositiveFloat = Field(
        default=1.0, le=1e9, description="relative probability that a step draws from this bucket"
    )
    from_step: int = Field(
        default=0,
        ge=0,
        description="first step that draws from it: images first, then short clips, then long ones",
    )


class TimestepsSection(Section):
    """Distribution of the noise levels that training draws."""

    law: str = Field(default="logit_normal", description="`logit_normal` or `uniform`")
    mean: float = Field(
        default=0.0,
        ge=-100,
        le=100,
        description="logit_normal: mean of the normal distribution before the sigmoid",
    )
    std: PositiveFloat = Field(
        default=1.0, le=100, description="logit_normal: standard deviation of that distribution"
    )
    shift: PositiveFloat = Field(
        default=3.0,
        ge=0.001,
        le=1000,
        description="sigma' = s*sigma / (1 + (s-1)*sigma); larger for larger videos (SD3, eq. 23)",
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
    holdout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of clips held out of training for the evaluation loss",
    )
    log_every: Count = Field(default=10, description="steps between log lines")
    eval_every: Count = Field(default=500, description="steps between evaluations")
    preview_every: Count = Field(default=1000, description="steps between previews")
    checkpoint_every: Count = Field(default=500, description="steps between checkpoints")
    keep_checkpoints: Count = Field(default=2, description="newest checkpoints that are kept")
    trackers: tuple[str, ...] = Field(
        default=("tensorboard",),
        description="trackers of accelerate: `tensorboard`, `wandb`",
    )


def _one_name_as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_name_as_list, json_schema_input_type=str | tuple[str, ...]),
]


class TrainVAESection(TrainSection):
    """Keys of `wanctl train-vae`."""

    network: Literal["vae", "tiny_decoder"] = Field(
        default="vae",
        description="`vae`; `tiny_decoder`: a small decoder for previews, which learns to repeat "
        "the decoder of the run's VAE (OUT/vae, else `model.vae_weights`) and is written to "
        "OUT/tiny_decoder; of the loss, l1 and perceptual apply",
    )
    tiny_decoder_width: int = Field(
        default=256,
        ge=4,
        le=4096,
        multiple_of=4,
        description="channels of the tiny decoder's first level; the published ones have 256",
    )
    trained: Names = Field(
        default=("all",),
        min_length=1,
        description="what is trained: `all`, `encoder`, `decoder` (the latents, their statistics "
        "and so transformers that were trained on them stay valid), or a list of blocks as in the "
        "tensors' names, e.g. `[decoder.head, decoder.upsamples.14]`",
    )
    latent_statistics: Literal["keep", "measure"] = Field(
        default="keep",
        description="mean and deviation of the latents: `keep` those of the weights that training "
        "starts from, if they fit; `measure` them when training ends, as after random weights",
    )
    chunk_frames: Annotated[FrameCount, Field(ge=5)] | None = Field(
        default=None,
        description="longer clips are trained in chunks of so many frames (4n+1; later ones one "
        "less): layers see the frames before a chunk, gradients end at its start, memory is that "
        "of one chunk; null: clips are trained whole",
    )
    loss: VAELossSection = VAELossSection()


class TrainDiTSection(TrainSection):
    """Keys of `wanctl train-dit`."""

    timesteps: TimestepsSection = TimestepsSection()
    text_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of captions replaced by the empty prompt"
    )
    windows_per_clip: Count = Field(
        default=4, description="windows per clip, evenly spaced, that are encoded and cached"
    )
    preview_prompts: tuple[str, ...] = Field(
        default=(), description="prompts sampled during training; empty: captions of held-out clips"
    )
    preview_steps: Steps = Field(default=20, description="solver steps of a preview")
    preview_decoder: Literal["vae", "tiny_decoder"] = Field(
        default="vae",
        description="what decodes previews; `tiny_decoder`, that of OUT/tiny_decoder, is several "
        "times as fast and softer",
    )
