"""Keys of `train_vae.loss`: the terms of the VAE's loss, each with a weight and a first step."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from wanctl.recipe.section import ContradictionError, Count, LocalPath, Section
from wanctl.recipe.train.optimizer import Beta, OptimizerSection


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


class DiscriminatorOptimizerSection(OptimizerSection):
    """The discriminator's optimizer; its schedule counts its own steps."""

    warmup_steps: int = Field(default=0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="on kernels only")
    betas: tuple[Beta, Beta] = Field(
        default=(0.5, 0.9), description="decay rates of AdamW's two moments"
    )


class AdversarialSection(LossTermSection):
    """Adversarial term; its 3-D patch discriminator (hinge loss) learns from `from_step` on."""

    adaptive: bool = Field(
        default=True,
        description="multiply `weight` by |gradient of L1 and perceptual term| / |gradient of "
        "this term| at the decoder's last layer (VQGAN, eq. 7), so that 1 is an equal influence",
    )
    width: Annotated[int, Field(ge=8, le=1024)] = Field(
        default=64, description="channels of the discriminator's first layer, a multiple of 8"
    )
    layers: Annotated[int, Field(ge=1, le=4)] = Field(
        default=3,
        description="layers that halve height and width: a logit of 1 to 4 layers sees 8, 18, 38 "
        "or 78 pixels a side",
    )
    r1: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="weight of the gradient penalty R1, which calms a discriminator that wins: "
        "half the squared gradient of a logit at real videos, e.g. 10; 0: none",
    )
    r1_every: Count = Field(
        default=16, description="steps between penalties, each counted this often (lazy R1)"
    )
    optimizer: DiscriminatorOptimizerSection = DiscriminatorOptimizerSection()

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        """Refuse a width that the norm's groups do not divide."""
        if self.width % 8:
            near = max(8, round(self.width / 8) * 8)
            raise ContradictionError(
                "width", f"got {self.width}; must be a multiple of 8, e.g. {near}"
            )
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


AdversarialTerm = Annotated[
    AdversarialSection,
    BeforeValidator(_from_number, json_schema_input_type=float | AdversarialSection),
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
    adversarial: AdversarialTerm = Field(
        default=AdversarialSection(weight=0.0), description="adversarial term (Wan's last stage)"
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
