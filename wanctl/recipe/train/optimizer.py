"""Keys of an optimizer."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from wanctl.recipe.section import ContradictionError, Count, Section

Beta = Annotated[float, Field(ge=0, lt=1)]


class PlateauSection(Section):
    """When `decay: plateau` lowers the learning rate."""

    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="factor of the learning rate each time"
    )
    patience: Count = Field(
        default=5,
        description="evaluations in a row without a lower loss, after which it is lowered",
    )
    threshold: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.001, description="share of the lowest loss by which a loss must be lower to count"
    )
    final_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01, description="share of `lr` below which it is not lowered"
    )


class OptimizerGroupSection(Section):
    """Parameters with a learning rate or weight decay of their own."""

    match: str = Field(
        min_length=1,
        description="pattern of parameter names, as in `trained`, e.g. `lora_B`, `norm*`, "
        "`text_embedding`; a parameter belongs to the first group that matches it",
    )
    lr_factor: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=1.0, description="factor of the learning rate"
    )
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None,
        description="on all parameters of the group; null: as elsewhere, on matrices and kernels",
    )

    @model_validator(mode="after")
    def _differs(self) -> Self:
        """Refuse a group that changes nothing."""
        if self.lr_factor == 1 and self.weight_decay is None:
            raise ContradictionError(
                "match", "the group changes nothing; set lr_factor or weight_decay, or leave it out"
            )
        return self


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
    decay: Literal["constant", "cosine", "linear", "plateau"] = Field(
        default="constant",
        description="after the warm-up; `cosine` and `linear` end at `final_share` of `lr` at the "
        "last step; `plateau`: lowered when the held-out loss has stopped falling",
    )
    final_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="cosine, linear: share of `lr` at the last step"
    )
    plateau: PlateauSection = PlateauSection()
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
    groups: tuple[OptimizerGroupSection, ...] = Field(
        default=(), description="parameters with a learning rate or weight decay of their own"
    )
    weights: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="dtype in which matrices and kernels are kept while they are trained. adamw: "
        "`bf16`, with mixed_precision: bf16, takes 8 bytes per weight instead of 16 for weight, "
        "gradient and moments; steps are rounded stochastically, gradients of `accumulate` "
        "micro-batches are added in bf16",
    )
    clip_norm: PositiveFloat = Field(default=1.0, le=1e6, description="maximum gradient norm")
