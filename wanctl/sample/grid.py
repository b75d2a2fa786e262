"""Writes outputs side by side into one image or video, with a label under each tile.

Tiles keep their size and lie in cells as large as the largest tile; a video that ends before the
others keeps its last frame. Frames are read and written one by one, so memory does not grow with
the length.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wanctl.lock import locked
from wanctl.sample.request import KEY_DIGITS, SampleRequest
from wanctl.video.encode import write_png, write_video
from wanctl.video.image_files import open_image
from wanctl.video.orientation import orientation_of
from wanctl.video.stream import (
    FrameConverter,
    decode_frames,
    display_size,
    open_video,
    sample_aspect,
)

GAP_PX = 8
LINE_PX = 18
FONT_PX = 13
LABEL_LINES = 3
CELL_PX = 160  # least width of a cell: narrower labels are not readable
LABEL_COLOUR = (225, 225, 225)
# The font of Pillow has Latin letters only; these cover more scripts, where they are installed.
WIDER_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.ttf", "DejaVuSans.ttf", "arial.ttf")


@dataclass(frozen=True)
class Tile:
    """One output.

    Attributes:
        path: an mp4 or a png.
        label: text under it.
    """

    path: Path
    label: str


def make_grid(
    tiles: Sequence[Tile],
    path: Path,
    *,
    columns: int | None = None,
    fps: float = 16.0,
    crf: int = 16,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write tiles side by side.

    Args:
        tiles: one or more, row by row.
        path: without a suffix; `.png` is added if all tiles are images, else `.mp4`.
        columns: tiles per row; None: as many as make the grid about square.
        fps: frame rate of the video.
        crf: H.264 quality of the video.
        metadata: entries of the file's header.

    Returns:
        The file.

    Raises:
        VideoError: a tile cannot be read.
        WriteError: the file cannot be written.
    """
    still = all(tile.path.suffix == ".png" for tile in tiles)
    streams = [_frames(tile.path) for tile in tiles]
    sheet = _Sheet([next(stream) for stream in streams], tiles, columns)
    if still:
        file = path.with_name(f"{path.name}.png")
        write_png(file, sheet.image.copy(), metadata)
    else:
        file = path.with_name(f"{path.name}.mp4")
        write_video(file, sheet.frames(streams), fps, crf=crf, metadata=metadata)
    return file


def make_overview(
    requests: Sequence[SampleRequest],
    paths: Sequence[Path],
    columns: int | None,
    repeat: int,
    notes: Sequence[str] = (),
) -> Path:
    """Write all outputs of a run side by side into one file next to them.

    Processes that sample into one folder write their grids one after the other.

    Args:
        requests: one or more.
        paths: their files, which exist.
        columns: tiles per row; None: a row per prompt where there are repeats, else about square.
        repeat: seeds per prompt.
        notes: beginning of the label of each output; empty for none.

    Returns:
        The file.
    """
    names = "\n".join(path.name for path in paths)
    digest = hashlib.sha256(f"{names}\n{columns}".encode()).hexdigest()[:KEY_DIGITS]
    labels = _labels(requests)
    if notes:
        labels = [f"{note}, {label}" for note, label in zip(notes, labels, strict=True)]
    tiles = [Tile(path, label) for path, label in zip(paths, labels, strict=True)]
    with locked(paths[0].parent, "grid", wait=True):
        return make_grid(
            tiles,
            paths[0].with_name(f"grid-{digest}"),
            columns=columns or (repeat if repeat > 1 else None),
            fps=requests[0].fps,
            crf=requests[0].crf,
            metadata={"tiles": names},
        )


class _Sheet:
    """The image that tiles are drawn on.

    Args:
        first: first frame of each tile.
        tiles: with their labels.
        columns: see `make_grid`.
    """

    def __init__(
        self, first: Sequence[np.ndarray], tiles: Sequence[Tile], columns: int | None
    ) -> None:
        self._height = max(picture.shape[0] for picture in first)
        self._width = max(CELL_PX, *(picture.shape[1] for picture in first))
        count = len(first)
        shape = (self._width + GAP_PX) / (self._height + LABEL_LINES * LINE_PX + GAP_PX)
        self._columns = min(count, columns or max(1, round(math.sqrt(count / shape))))
        rows = math.ceil(count / self._columns)
        cell = self._height + LABEL_LINES * LINE_PX + GAP_PX
        size = (rows * cell + GAP_PX, self._columns * (self._width + GAP_PX) + GAP_PX, 3)
        self.image = np.zeros(size, np.uint8)
        for number, (picture, tile) in enumerate(zip(first, tiles, strict=True)):
            self._put(number, picture)
            top, left = self._corner(number)
            top += self._height
            label = _label(tile.label, number, self._width)
            self.image[top : top + LABEL_LINES * LINE_PX, left : left + self._width] = label

    def frames(self, streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
        """The sheet as it is, and after each further frame of the tiles."""
        yield self.image.copy()
        while True:
            nexts = [next(stream, None) for stream in streams]
            if all(picture is None for picture in nexts):
                return
            for number, picture in enumerate(nexts):
                if picture is not None:
                    self._put(number, picture)
            yield self.image.copy()

    def _corner(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, self._columns)
        cell = self._height + LABEL_LINES * LINE_PX + GAP_PX
        return GAP_PX + row * cell, GAP_PX + column * (self._width + GAP_PX)

    def _put(self, number: int, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        top, left = self._corner(number)
        top += (self._height - height) // 2
        left += (self._width - width) // 2
        self.image[top : top + height, left : left + width] = picture


def _frames(path: Path) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 of a file that this program wrote."""
    if path.suffix == ".png":
        with open_image(path) as image:
            yield np.asarray(image.convert("RGB"))
        return
    with open_video(path) as (container, stream):
        converter, size = None, (0, 0)
        for frame in decode_frames(container, stream):
            if converter is None:
                converter = FrameConverter(orientation_of(frame))
                size = display_size(
                    frame.width, frame.height, sample_aspect(stream), orientation_of(frame)
                )
            yield converter.convert(frame, *size, how="BICUBIC")


def _label(text: str, number: int, width: int) -> np.ndarray:
    """An image with the text in LABEL_LINES lines; text that is too long ends in an ellipsis."""
    font = _font_for(text)
    if font is None:
        font, text = _plain_font(), f"no. {number + 1}"
    lines = _wrapped(text, font, width)
    band = Image.new("RGB", (width, LABEL_LINES * LINE_PX))
    draw = ImageDraw.Draw(band)
    for row, line in enumerate(lines):
        draw.text((0, row * LINE_PX), line, fill=LABEL_COLOUR, font=font)
    return np.asarray(band)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < LABEL_LINES:
        fits = len(rest)
        while fits > 1 and font.getlength(rest[:fits]) > width:
            fits -= 1
        last = len(lines) == LABEL_LINES - 1
        if fits < len(rest) and last:
            lines.append(rest[: max(1, fits - 2)].rstrip() + "…")
            return lines
        if fits < len(rest) and " " in rest[:fits]:
            fits = rest[:fits].rindex(" ") + 1
        lines.append(rest[:fits].rstrip())
        rest = rest[fits:]
    return lines


def _plain_font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(FONT_PX)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _font_for(text: str) -> ImageFont.FreeTypeFont | None:
    """The first font that has every character of a text; None if there is none."""
    fonts = [_plain_font()]
    for name in WIDER_FONTS:
        try:
            fonts.append(ImageFont.truetype(name, FONT_PX))
        except OSError:
            continue
    return next((font for font in fonts if _draws(font, text)), None)


def _draws(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether the font has all characters: none is drawn as the box for missing ones."""
    missing = _drawn(font, "\U0010fffd")
    return all(_drawn(font, each) != missing for each in set(text) if not each.isspace())


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> bytes:
    glyph = Image.new("L", (2 * FONT_PX, 2 * FONT_PX))
    ImageDraw.Draw(glyph).text((0, 0), character, fill=255, font=font)
    return glyph.tobytes()


def _labels(requests: Sequence[SampleRequest]) -> list[str]:
    """Label of each output: the settings in which the outputs differ, and the prompt."""
    settings = [request.settings() for request in requests]
    first = settings[0]
    differing = [key for key in first if any(each[key] != first[key] for each in settings)]
    keys = [key for key in differing if key not in ("inputs", "vace")] or ["seed"]
    return [
        ", ".join(f"{key} {_short(each[key])}" for key in keys) + f": {request.title}"
        for request, each in zip(requests, settings, strict=True)
    ]


def _short(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
