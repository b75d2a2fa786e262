"""Keys of `dataset`, `export` and `text_images`."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from wanctl.recipe.section import (
    ContradictionError,
    Count,
    FrameRate,
    Height,
    LocalPath,
    PlainName,
    Section,
    Side,
    Width,
)


class DatasetSection(Section):
    """The data set directory that the commands share."""

    path: LocalPath | None = Field(
        default=None,
        description="the data set directory; null: `dataset` in the output folder. Training also "
        "takes another trainer's folder or index file, which it imports there first",
    )
    selection: PlainName = Field(
        default="default",
        description="name of the selection that curation writes and training reads",
    )
    license: str = Field(
        default="not stated", description="licence of the footage, written to every data card"
    )


class ExportSection(Section):
    """Keys of `wanctl data export`."""

    layout: str = Field(default="mp4", description="a row of LAYOUTS; --layout overrides it")
    fps: FrameRate | None = Field(
        default=None, description="frame rate of the files; null: train_dit.clip_fps"
    )
    height: Side | None = Field(
        default=None,
        description="with `width`: clips are resized to cover this size and cropped at the centre; "
        "null: their own size",
    )
    width: Side | None = Field(default=None, description="see `height`")
    crf: int = Field(default=16, ge=0, le=51, description="H.264 quality, lower is better")
    shard_mb: float = Field(
        default=256.0, ge=0.0001, le=1e6, description="largest size of a shard of `webdataset`"
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
    """Keys of `wanctl data text-images`: images of text whose captions quote it."""

    num_images: Count = Field(default=1000, description="number of images")
    height: Height = Field(default=256, description="pixels, a multiple of 16")
    width: Width = Field(default=256, description="pixels, a multiple of 16")
    languages: tuple[Literal["zh", "en"], ...] = Field(
        default=("zh", "en"), min_length=1, description="languages of the text"
    )
    fonts: LocalPath | None = Field(
        default=None,
        description="folder of fonts; null: fonts of the system and of installed packages",
    )
    corpus: tuple[LocalPath, ...] = Field(
        default=(), description="UTF-8 text files: lines to draw, and how often characters occur"
    )
    corpus_share: float = Field(
        default=0.5, ge=0, le=1, description="share of lines from the corpus"
    )
    characters: Literal["common", "gb2312", "font"] = Field(
        default="gb2312",
        description="Chinese characters: the 3,755 common ones, the 6,763 of GB 2312, or all of "
        "a font",
    )
    balance: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="0: characters as often as in the corpus; 1: all equally often",
    )
    plain_share: float = Field(
        default=0.5, ge=0, le=1, description="share of images with black text on white"
    )
    grounds: LocalPath | None = Field(
        default=None,
        description="folder of background images, in addition to frames of the run's data set",
    )
    vertical_share: float = Field(
        default=0.2, ge=0, le=1, description="share of Chinese text in columns"
    )
    max_lines: int = Field(default=3, gt=0, le=100, description="lines per image")
    max_characters: int = Field(
        default=8, gt=0, le=1000, description="per line; twice as many for English"
    )
    check: bool = Field(
        default=True, description="read each image with OCR; `max_error` decides which are dropped"
    )
    max_error: float = Field(
        default=0.2, ge=0, le=1, description="share of characters that OCR may read wrongly"
    )
