"""Keys of `sample.vace`: how the inputs of VACE are prepared."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Section

Share = Annotated[float, Field(ge=0, le=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Growth = Annotated[float, Field(ge=0, le=8)]
Frames = Annotated[int, Field(ge=0, le=10_000)]


class TrackSection(Section):
    """One moving box of a layout."""

    boxes: dict[int, tuple[Share, Share, Share, Share]] = Field(
        min_length=1,
        description="frame number -> [left, top, right, bottom] as shares of the frame; the box is "
        "interpolated between these frames and absent before the first and after the last",
    )
    colour: tuple[Byte, Byte, Byte] = Field(default=(0, 0, 0), description="RGB of the outline")

    @model_validator(mode="after")
    def _sides_in_order(self) -> Self:
        for frame, (left, top, right, bottom) in self.boxes.items():
            if left >= right or top >= bottom:
                raise ContradictionError(
                    f"boxes.{frame}",
                    f"got {[left, top, right, bottom]}; need left < right and top < bottom",
                )
        return self


class VaceSection(Section):
    """Inputs of VACE besides the prompt; applies to `sample.video` and `sample.mask`."""

    control: str = Field(
        default="source",
        description="control where the video is generated: `source` (the video itself, e.g. of "
        "depth or pose), `blank` (in-painting), or computed from it: `grey`, `scribble`, `flow`",
    )
    scale: float = Field(default=1.0, ge=0, le=1000, description="strength of the control")
    mask_form: str = Field(
        default="original", description="shape of the mask: `original`, `hull` or `bbox`"
    )
    mask_expand: float = Field(
        default=0.0,
        ge=0,
        le=8,
        description="growth of the mask as a share of the longer side of its bounding box",
    )
    outpaint: tuple[Growth, Growth, Growth, Growth] = Field(
        default=(0, 0, 0, 0),
        description="[left, top, right, bottom]: borders to add, as shares of the video's sides",
    )
    extend: tuple[Frames, Frames] = Field(
        default=(0, 0), description="[before, after]: frames to add to the video"
    )
    layout: tuple[TrackSection, ...] = Field(
        default=(), description="moving boxes that control where objects are, instead of a video"
    )
