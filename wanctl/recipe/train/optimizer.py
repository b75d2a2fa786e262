"""Keys of an optimizer."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from wanctl.recipe.section import Section

Beta = Annotated[float, Field(ge=0, lt=1)]


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
