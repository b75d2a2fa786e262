"""Draws lines of text into an image, horizontally or in columns, and returns their boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wanctl.textimages.fonts import Font
from wanctl.video.frames import Box

Direction = Literal["horizontal", "vertical"]

# WCAG 2.2, success criterion 1.4.3
MIN_CONTRAST = 4.5
LINE_STEP = 1.3
MIN_PX = 14
"""Height below which OCR cannot tell characters apart."""


class NoRoomError(ValueError):
    """The lines do not fit at a legible size."""


@dataclass(frozen=True)
class TextImage:
    """An image with the text that was drawn into it.

    Attributes:
        pixels: (H, W, 3) uint8.
        lines: the boxes of each line: one of a horizontal line, one per character of a column.
        size_px: height of a character cell.
        ink: RGB of the text.
        outlined: whether the characters have an outline in black or white.
    """

    pixels: np.ndarray
    lines: Sequence[Sequence[Box]]
    size_px: int
    ink: tuple[int, int, int]
    outlined: bool


def has_ink(font: Font, character: str) -> bool:
    """Whether the font's glyph of a character has any ink."""
    return _face(font, 32).getmask(character).getbbox() is not None


def draw(
    random: np.random.Generator,
    background: np.ndarray,
    lines: Sequence[str],
    font: Font,
    direction: Direction,
    *,
    plain: bool,
) -> TextImage:
    """Draw lines at a random place, between the largest size that fits and half of it.

    Args:
        random: draws size, place and colour.
        background: (H, W, 3) uint8.
        lines: text, without line breaks.
        font: has to cover all characters.
        direction: `vertical` draws columns from right to left.
        plain: black ink.

    Raises:
        NoRoomError: the text would be smaller than MIN_PX.
    """
    height, width = background.shape[:2]
    room = (round(width * 0.92), round(height * 0.92))
    largest = _largest(lines, font, direction, room)
    if largest < MIN_PX:
        raise NoRoomError(f"{max(map(len, lines))} characters in {width}x{height} pixels")
    size = int(random.integers(max(MIN_PX, largest // 2), largest + 1))
    block = _extent(lines, font, direction, size)
    x = int(random.integers(0, width - block[0] + 1))
    y = int(random.integers(0, height - block[1] + 1))
    cells = _place(lines, font, direction, size, (x, y))
    under = background[y : y + block[1], x : x + block[0]]
    ink = (0, 0, 0) if plain else _ink(random, under)
    outlined = not plain and _contrast_spread(under, ink) < MIN_CONTRAST
    image = Image.fromarray(background)
    canvas = ImageDraw.Draw(image)
    rim = (255, 255, 255) if _luminance(np.array(ink)) < 0.18 else (0, 0, 0)
    face = _face(font, size)
    for line, boxes in zip(lines, cells, strict=True):
        parts = [line] if direction == "horizontal" else list(line)
        for part, box in zip(parts, boxes, strict=True):
            middle = _middle(box)
            at = (box.x + 1, middle[1]) if direction == "horizontal" else middle
            canvas.text(
                at,
                part,
                font=face,
                fill=ink,
                anchor="lm" if direction == "horizontal" else "mm",
                stroke_width=max(1, size // 16) if outlined else 0,
                stroke_fill=rim,
            )
    return TextImage(np.asarray(image), cells, size, ink, outlined)


@lru_cache(maxsize=256)
def _face(font: Font, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font.path), size, index=font.index)


def _largest(lines: Sequence[str], font: Font, direction: Direction, room: tuple[int, int]) -> int:
    """The largest size at which the block fits, by bisection."""
    low, high = 1, max(room)
    while low < high:
        size = (low + high + 1) // 2
        across, down = _extent(lines, font, direction, size)
        low, high = (size, high) if across <= room[0] and down <= room[1] else (low, size - 1)
    return low


def _extent(lines: Sequence[str], font: Font, direction: Direction, size: int) -> tuple[int, int]:
    """Width and height of the block in pixels."""
    step = round(LINE_STEP * size)
    if direction == "vertical":
        return step * len(lines), step * max(map(len, lines))
    across = max(_face(font, size).getlength(line) for line in lines)
    return int(np.ceil(across)) + 2, step * len(lines)


def _place(
    lines: Sequence[str], font: Font, direction: Direction, size: int, at: tuple[int, int]
) -> list[list[Box]]:
    step = round(LINE_STEP * size)
    x, y = at
    if direction == "horizontal":
        face = _face(font, size)
        return [
            [Box(x, y + row * step, int(np.ceil(face.getlength(line))) + 2, step)]
            for row, line in enumerate(lines)
        ]
    last = len(lines) - 1
    return [
        [Box(x + (last - column) * step, y + row * step, step, step) for row in range(len(line))]
        for column, line in enumerate(lines)
    ]


def _middle(box: Box) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def _ink(random: np.random.Generator, under: np.ndarray) -> tuple[int, int, int]:
    """A random colour with enough contrast; black or white after 20 failed attempts."""
    background = _luminance(under.reshape(-1, 3).mean(axis=0))
    for _ in range(20):
        colour = random.integers(0, 256, 3)
        if _contrast(_luminance(colour), background) >= MIN_CONTRAST:
            return (int(colour[0]), int(colour[1]), int(colour[2]))
    return (255, 255, 255) if background < 0.18 else (0, 0, 0)


def _contrast_spread(under: np.ndarray, ink: tuple[int, int, int]) -> float:
    """Contrast of the ink with the background: the 5th percentile over its pixels."""
    values = _luminance(under.reshape(-1, 3))
    own = float(_luminance(np.array(ink)))
    return float(np.quantile([_contrast(own, float(value)) for value in values[::16]], 0.05))


def _luminance(colour: np.ndarray) -> np.ndarray:
    """Relative luminance of sRGB, 0 to 1 (WCAG 2.2)."""
    share = np.asarray(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def _contrast(one: float | np.ndarray, other: float | np.ndarray) -> float:
    high, low = max(one, other), min(one, other)
    return float((high + 0.05) / (low + 0.05))
