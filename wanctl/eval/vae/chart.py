"""One figure of all VAEs: quality against speed, as figure 7 of the Wan report (2503.20314)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 40, 50, 60
SCALE = 2  # drawn larger and reduced: smooth lines
COLOURS = ("#2f6fde", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900", "#0b7285", "#c2255c", "#495057")
INK, GRID, PAPER = "#22303c", "#d5dade", "#ffffff"
TICKS = 7


class Point(NamedTuple):
    """One VAE.

    Attributes:
        name: of the VAE.
        speed: reconstructed megapixels per second.
        psnr: dB.
        num_parameters: gives the area of the disc.
    """

    name: str
    speed: float
    psnr: float
    num_parameters: int


def draw_chart(points: Sequence[Point], title: str) -> Image.Image:
    """Draw the figure: speed on a logarithmic axis, PSNR above it, discs by size of the network."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
    draw = ImageDraw.Draw(image)
    speeds = _padded([math.log10(each.speed) for each in points], 0.15)
    quality = _padded([each.psnr for each in points], 1.0)
    _axes(draw, speeds, quality, title)
    largest = max(each.num_parameters for each in points)
    for index, point in enumerate(points):
        colour = COLOURS[index % len(COLOURS)]
        x, y = _x(math.log10(point.speed), speeds), _y(point.psnr, quality)
        radius = 5 + 15 * math.sqrt(point.num_parameters / largest)
        _disc(draw, x, y, radius, colour)
        label = f"{point.name}, {point.num_parameters / 1e6:.3g} M"
        _label(draw, x, y - radius - 18, label, colour)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _axes(
    draw: ImageDraw.ImageDraw,
    speeds: tuple[float, float],
    quality: tuple[float, float],
    title: str,
) -> None:
    _text(draw, WIDTH / 2, 12, title, INK, 16)
    for speed in _log_ticks(*speeds):
        x = _x(math.log10(speed), speeds)
        _line(draw, (x, TOP, x, HEIGHT - BOTTOM))
        _text(draw, x, HEIGHT - BOTTOM + 8, f"{speed:g}", INK, 13)
    for level in _ticks(*quality):
        y = _y(level, quality)
        _line(draw, (LEFT, y, WIDTH - RIGHT, y))
        _text(draw, LEFT - 26, y - 8, f"{level:g}", INK, 13)
    axis = "encoded and decoded megapixels per second (all frames; logarithmic)"
    _text(draw, WIDTH / 2, HEIGHT - 28, axis, INK, 14)
    _text(draw, LEFT - 26, TOP - 26, "PSNR, dB", INK, 14)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two powers of ten."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    marks = [float(f"{mark}e{decade}") for decade in decades for mark in (1, 1.5, 2, 3, 5, 7)]
    return [mark for mark in marks if low <= math.log10(mark) <= high]


def _ticks(low: float, high: float) -> list[float]:
    """At most TICKS multiples of a round step."""
    steps = (float(f"{mark}e{decade}") for decade in range(-2, 4) for mark in (1, 2, 5))
    step = next(each for each in steps if (high - low) / each <= TICKS)
    return [round(n * step, 4) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _padded(values: Sequence[float], least: float) -> tuple[float, float]:
    """Bounds of an axis with a margin around the values."""
    low, high = min(values), max(values)
    margin = max(least, (high - low) * 0.15)
    return low - margin, high + margin


def _x(value: float, bounds: tuple[float, float]) -> float:
    return LEFT + (value - bounds[0]) / (bounds[1] - bounds[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, bounds: tuple[float, float]) -> float:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: str) -> None:
    box = [(x - radius) * SCALE, (y - radius) * SCALE, (x + radius) * SCALE, (y + radius) * SCALE]
    draw.ellipse(box, fill=colour)


def _line(draw: ImageDraw.ImageDraw, ends: tuple[float, float, float, float]) -> None:
    draw.line([each * SCALE for each in ends], fill=GRID, width=SCALE)


def _label(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, colour: str) -> None:
    """A text above a disc, moved so that it stays on the sheet."""
    half = draw.textlength(_plain(text), font=ImageFont.load_default(13 * SCALE)) / SCALE / 2
    _text(draw, min(max(x, half + 4), WIDTH - half - 4), max(y, TOP), text, colour, 13)


def _text(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, colour: str, size: int) -> None:
    """A text centred at x."""
    font = ImageFont.load_default(size * SCALE)
    draw.text((x * SCALE, y * SCALE), _plain(text), fill=colour, font=font, anchor="ma")


def _plain(text: str) -> str:
    """The characters that the built-in font has."""
    return text.encode("latin-1", "replace").decode("latin-1")
