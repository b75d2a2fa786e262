"""Keys of `train_vae` and `train_dit`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from wanctl.recipe.section import Count, FrameCount, FrameRate, Height, Section, Steps, Width

Beta = Annotated[float, Field(ge=0, lt=1)]


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


class OptimizerSection(Section):
    """AdamW and its learning-rate schedule."""

    lr: PositiveFloat = Field(default=1e-4, le=10, description="peak learning rate")
    warmup_steps: int = Field(default=100, ge=0, description="steps of linear warm-up")
    decay: Literal["constant", "cosine"] = Field(
        default="constant",
        description="after the warm-up; cosine ends at 5 % of `lr` at the last step",
    )
    weight_decay: float = Field(
        default=1e-3,
        ge=0,
        le=10,
        description="on matrices and kernels only, not on norms and biases",
    )
    betas: tuple[Beta, Beta] = Field(
        default=(0.9, 0.999), description="decay rates of AdamW's two moments"
    )
    clip_norm: PositiveFloat = Field(default=1.0, le=1e6, description="maximum gradient norm")


class TrainSection(Section):
    """Keys that `train-vae` and `train-dit` share."""

    steps: Count = Field(default=10_000, description="optimizer steps")
    buckets: tuple[Bucket, ...] = Field(
        default=(Bucket(frames=17, height=256, width=256),),
        min_length=1,
        description="shapes of training samples; of each frame count a clip serves the best",
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


class VAELossSection(Section):
    """Weights of the VAE loss (Wan report 2.2: 3, 3e-6, 3)."""

    l1: float = Field(default=3.0, ge=0, le=1e6, description="L1 distance of pixels")
    kl: float = Field(
        default=3e-6, ge=0, le=1e6, description="KL divergence of the latents from N(0, 1)"
    )
    perceptual: float = Field(default=3.0, ge=0, le=1e6, description="ST-LPIPS distance")
    perceptual_frames: Count | None = Field(
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
    windows_per_clip: Count = Field(
        default=4, description="windows per clip, evenly spaced, that are encoded and cached"
    )
    preview_prompts: tuple[str, ...] = Field(
        default=(), description="prompts sampled during training; empty: captions of held-out clips"
    )
    preview_steps: Steps = Field(default=20, description="solver steps of a preview")
