"""Keys of what the transformer is given beside its text while it is trained."""

from typing import Annotated

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Count, Seconds, Section

TaskWeight = Annotated[float, Field(gt=0, le=1e9, strict=True)]
"""Relative probability of a task."""


class ConditionsSection(Section):
    """How training tasks draw their inputs from a window, and what these count for."""

    draws_per_window: Count = Field(
        default=4,
        le=1000,
        description="draws of a window's inputs (continuation, interpolation), all encoded before "
        "training; disk space grows with it",
    )
    continuation_s: tuple[Seconds, Seconds] = Field(
        default=(1.5, 1.5),
        description="least and most seconds of first frames that continuation is given, at most "
        "half of the window; Wan: 1.5",
    )
    interpolation_frames: Count = Field(
        default=4, description="most frames at random places that interpolation is given"
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of samples without their inputs: zeros as mask, known frames and CLIP "
        "tokens, no known latents",
    )
    known_frames_weight: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="weight in the loss of known frames that the model reads as channels. It makes "
        "them anew in its output: at 1 (Wan) it learns to copy them, at 0 they may differ from the "
        "given images. With vace it is the weight of what the mask keeps and of references. Known "
        "latents (ti2v) never count",
    )
    clip_branch: bool | None = Field(
        default=None,
        description="read the given images through CLIP as well; false trains an image-to-video "
        "variant without that branch, as Wan's joint pre-training does; null: as the variant",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ConditionsSection":
        least, most = self.continuation_s
        if least > most:
            message = f"got [{least:g}, {most:g}]; the first number must not be the larger one"
            raise ContradictionError("continuation_s", message)
        return self
