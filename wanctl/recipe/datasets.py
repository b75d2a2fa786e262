"""Recipe keys around data sets: where they lie, what leaves them, pictures of text."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from wanctl.recipe.section import ContradictionError, Height, Section, Width


class DatasetSection(Section):
    """Which data set directory the commands share."""

    path: Path | None = Field(
        default=None,
        description="the data set directory; default is `dataset` in the output folder",
    )
    selection: str = Field(
        default="default", description="name of the selection that is trained on"
    )
    license: str = Field(
        default="not stated", description="of the footage; goes into every data card"
    )


class ExportSection(Section):
    """`wanctl data export`."""

    layout: str = Field(default="mp4", description="a row of LAYOUTS; --layout names another")
    fps: PositiveFloat | None = Field(
        default=None, description="frame rate of the files; null: train_dit.clip_fps"
    )
    height: PositiveInt | None = Field(
        default=None, description="with `width`: resized to cover, centre crop; null: as they are"
    )
    width: PositiveInt | None = None
    crf: int = Field(default=16, ge=0, le=51, description="H.264 quality, lower is better")
    shard_mb: PositiveFloat = Field(
        default=256.0, description="a shard of `webdataset` is closed before it grows beyond this"
    )

    @field_validator("height", "width")
    @classmethod
    def _even(cls, side: int | None) -> int | None:
        if side is not None and side % 2:
            raise ValueError(f"got {side}; must be even, e.g. {side + 1}")
        return side

    @model_validator(mode="after")
    def _both_sides_or_neither(self) -> Self:
        if (self.height is None) != (self.width is None):
            key = "width" if self.height is None else "height"
            message = f"got {getattr(self, key)} alone; set both height and width, or neither"
            raise ContradictionError(key, message)
        return self


class TextImagesSection(Section):
    """`wanctl data text-images`: pictures of text whose captions quote it."""

    num_images: PositiveInt = Field(default=1000, description="pictures")
    height: Height = Field(default=256, description="pixels, a multiple of 16")
    width: Width = Field(default=256, description="pixels, a multiple of 16")
    languages: tuple[Literal["zh", "en"], ...] = Field(default=("zh", "en"), min_length=1)
    fonts: Path | None = Field(
        default=None,
        description="folder of fonts; null: those of the system and of installed packages",
    )
    corpus: tuple[Path, ...] = Field(
        default=(), description="UTF-8 texts: lines to write, and how often characters are used"
    )
    corpus_share: float = Field(default=0.5, ge=0, le=1, description="share of lines out of it")
    characters: Literal["common", "gb2312", "font"] = Field(
        default="gb2312", description="3,755 common ones, 6,763 of GB 2312, or all a font has"
    )
    balance: float = Field(
        default=0.7, ge=0, le=1, description="0: characters as they are used; 1: all alike"
    )
    plain_share: float = Field(default=0.5, ge=0, le=1, description="black on plain white")
    grounds: Path | None = Field(
        default=None,
        description="folder of pictures to write on, beside frames of the run's data set",
    )
    vertical_share: float = Field(default=0.2, ge=0, le=1, description="Chinese in columns")
    max_lines: PositiveInt = 3
    max_characters: PositiveInt = Field(default=8, description="of a line; English takes twice")
    check: bool = Field(default=True, description="read every picture back with OCR")
    max_error: float = Field(
        default=0.2, ge=0, le=1, description="characters read wrongly that a picture may have"
    )
