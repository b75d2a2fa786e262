"""Keys of `sample.vace`: how what VACE is shown is prepared."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Section

Share = Annotated[float, Field(ge=0, le=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Growth = Annotated[float, Field(ge=0, le=8)]
Frames = Annotated[int, Field(ge=0)]


class TrackSection(Section):
    """One box on its way through a layout."""

    boxes: dict[int, tuple[Share, Share, Share, Share]] = Field(
        min_length=1,
        description="frame number -> [left, top, right, bottom] as shares of the picture; between "
        "two of them the box moves evenly, before the first and after the last it is not there",
    )
    colour: tuple[Byte, Byte, Byte] = Field(default=(0, 0, 0), description="of the outline, RGB")

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
    """What VACE is shown besides words; works on `sample.video` and `sample.mask`."""

    control: str = Field(
        default="source",
        description="what is shown where the video is made anew: `source` (as it is: a depth, pose "
        "or other control video), `blank` (in-painting), or made from it: `grey`, `scribble`, "
        "`flow`",
    )
    scale: float = Field(default=1.0, ge=0, description="strength of the control")
    mask_form: str = Field(
        default="original", description="what the mask becomes: `original`, `hull` or `bbox`"
    )
    mask_expand: float = Field(
        default=0.0,
        ge=0,
        description="how far the mask then grows, as a share of the longer side of its box",
    )
    outpaint: tuple[Growth, Growth, Growth, Growth] = Field(
        default=(0, 0, 0, 0),
        description="[left, top, right, bottom]: what is added, as shares of the video's sides",
    )
    extend: tuple[Frames, Frames] = Field(
        default=(0, 0), description="[before, after]: frames that are added to the video"
    )
    layout: tuple[TrackSection, ...] = Field(
        default=(), description="boxes that say where things are, instead of a video"
    )
