"""Keys of `train_vae` and `train_dit`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from wanctl.recipe.section import (
    ContradictionError,
    Count,
    FrameCount,
    FrameRate,
    Height,
    LocalPath,
    Section,
    Steps,
    Width,
)

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
    """The optimizer and its learning-rate schedule."""

    name: str = Field(
        default="adamw",
        description="`adamw`; `muon`: matrices and kernels by Muon, the rest by AdamW; `adafactor`;"
        " with `pip install wanctl[optimizers]` also `prodigy`, `schedulefree` and `adamw8bit`,"
        " whose moments take 2 bytes per weight instead of 8",
    )
    lr: PositiveFloat = Field(
        default=1e-4,
        le=10,
        description="peak learning rate. adamw, adamw8bit, schedulefree: size of a step of each"
        " weight; muon: the same of matrices and kernels (updates of equal singular values are"
        " scaled to AdamW's size, 0.2); adafactor: largest step relative to the size of the"
        " weights, about 1e-2; prodigy: factor of the step size that it estimates, 1",
    )
    adamw_lr: Annotated[float, Field(gt=0, le=10)] | None = Field(
        default=None,
        description="muon: peak learning rate of norms, biases and modulation; null: `lr`",
    )
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
        default=(0.9, 0.999),
        description="decay rates of AdamW's two moments; adafactor has its own",
    )
    momentum: Beta = Field(default=0.95, description="muon: decay rate of the momentum")
    clip_norm: PositiveFloat = Field(default=1.0, le=1e6, description="maximum gradient norm")


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


class LossTermSection(Section):
    """One term of a loss. In a recipe a bare number is its weight."""

    weight: float = Field(ge=0, le=1e6, description="factor of the term; 0: not computed")
    from_step: int = Field(
        default=0, ge=0, description="first step with the term; before it is not computed"
    )


class KLSection(LossTermSection):
    """KL divergence of the latents from N(0, 1)."""

    reduction: Literal["position", "sample", "mean"] = Field(
        default="position",
        description="what `weight` multiplies: `position`, nats per latent position (summed over "
        "channels, averaged over positions); `sample`, nats per clip (summed over all, as in "
        "latent diffusion), at 5x128x128 512 times and at 17x256x256 5120 times `position`; "
        "`mean`, nats per latent value, with 16 channels a 16th of `position`",
    )


class PerceptualSection(LossTermSection):
    """Perceptual distance of frames."""

    frames: Count | None = Field(
        default=None,
        description="frames per sample, drawn at each step, that are compared; null: all",
    )
    network: Literal["st-lpips", "lpips-vgg"] = Field(
        default="st-lpips",
        description="`st-lpips`: AlexNet that tolerates small shifts, comes with the program; "
        "`lpips-vgg`: VGG16 of LPIPS 0.1, needs `weights`",
    )
    weights: tuple[LocalPath, ...] = Field(
        default=(),
        description="lpips-vgg: files with torchvision's `features.*` of VGG16 and with the "
        "`lin*` heads of the `lpips` package",
    )

    @model_validator(mode="after")
    def _network_has_weights(self) -> Self:
        """Refuse a network without its weights, and weights that nothing would read."""
        if self.network == "lpips-vgg" and self.weight > 0 and not self.weights:
            raise ContradictionError(
                "weights", "lpips-vgg needs files: [vgg16-397923af.pth, vgg.pth] (torchvision's "
                "VGG16, the heads of the `lpips` package)",
            )  # fmt: skip
        if self.network == "st-lpips" and self.weights:
            raise ContradictionError(
                "weights", "st-lpips comes with its weights; leave them out, or set network: "
                "lpips-vgg",
            )  # fmt: skip
        return self


def _from_number(value: Any) -> Any:
    """A bare number as the weight of a term; a section as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"weight": value}
    if isinstance(value, dict | LossTermSection):
        return value
    shown = "nothing" if value is None else repr(value)
    raise ValueError(f"got {shown}; must be a number (the weight), or a section with `weight`")


LossTerm = Annotated[
    LossTermSection,
    BeforeValidator(_from_number, json_schema_input_type=float | LossTermSection),
]
KLTerm = Annotated[
    KLSection, BeforeValidator(_from_number, json_schema_input_type=float | KLSection)
]
PerceptualTerm = Annotated[
    PerceptualSection,
    BeforeValidator(_from_number, json_schema_input_type=float | PerceptualSection),
]


class VAELossSection(Section):
    """Terms of the VAE loss (Wan report 2.2: weights 3, 3e-6, 3)."""

    l1: LossTerm = Field(default=LossTermSection(weight=3.0), description="L1 distance of pixels")
    kl: KLTerm = Field(
        default=KLSection(weight=3e-6), description="KL divergence of the latents from N(0, 1)"
    )
    perceptual: PerceptualTerm = Field(
        default=PerceptualSection(weight=3.0), description="perceptual distance of frames"
    )

    @model_validator(mode="before")
    @classmethod
    def _frames_moved(cls, values: Any) -> Any:
        """Name the place of a key that recipes had before terms were sections."""
        if isinstance(values, dict) and "perceptual_frames" in values:
            raise ContradictionError(
                "perceptual_frames",
                "this key has moved; write `perceptual: {weight: 3, frames: "
                f"{values['perceptual_frames']}}}`",
            )
        return values

    @model_validator(mode="after")
    def _first_step_has_a_term(self) -> Self:
        """Refuse a loss that compares nothing at first."""
        if not any(term.weight > 0 and term.from_step == 0 for term in (self.l1, self.perceptual)):
            raise ContradictionError(
                "l1", "nothing compares videos at step 0; give `l1` or `perceptual` a weight and "
                "`from_step: 0`",
            )  # fmt: skip
        return self


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
