"""Keys of `sample.phases`: the steps of a sample in parts that are computed differently."""

from typing import Annotated, Literal

from pydantic import Field

from wanctl.recipe.section import Section, Steps

Strength = Annotated[float, Field(ge=-100, le=100)]
"""A factor of the strength of a LoRA."""


class PhaseSection(Section):
    """Consecutive steps; what a phase leaves out is as without phases."""

    steps: Steps | None = Field(
        default=None, description="number of its steps; the last phase may leave it out"
    )
    expert: Literal["high", "low"] | None = Field(
        default=None, description="variants with two experts: which one; null: as `boundary` says"
    )
    lora_strengths: Strength | tuple[Strength, ...] = Field(
        default=1.0,
        description="factor of the strengths of all LoRAs, or a list of one each, those of the run "
        "folder before `model.loras`; 0 leaves one out",
    )
    guide_scale: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None, description="classifier-free guidance scale; 1: none, by references neither"
    )
