"""One picture per clip: the region that VAEs get most wrong, enlarged, and their differences.

Upper row: source, then each VAE, at 4x. Lower row: where the region is in the frame, then each
VAE's absolute difference, 5 times as bright.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

REGION_PX, ZOOM, BRIGHTER = 64, 4, 5
# Regions begin at multiples of this.
STEP_PX = 8
GAP_PX, LINE_PX, TEXT_PX = 8, 18, 13
INK, PALE, MARK = (240, 240, 240), (150, 150, 150), (255, 120, 0)


class Region(NamedTuple):
    """A square of one frame."""

    frame: int
    y: int
    x: int
    side: int

    def cut(self, frames: np.ndarray) -> np.ndarray:
        """(side, side, 3) of frames (T, H, W, 3)."""
        return frames[self.frame, self.y : self.y + self.side, self.x : self.x + self.side]


def worst_region(source: np.ndarray, videos: Sequence[np.ndarray]) -> Region:
    """The square with the largest squared error, averaged over the VAEs.

    Averaged, because the worst region of one VAE would show that one too bad.

    Args:
        source: (T, H, W, 3) uint8.
        videos: the reconstructions, of the same shape.
    """
    side = min(REGION_PX, *source.shape[1:3])
    worst = (-1.0, Region(0, 0, 0, side))
    for index, frame in enumerate(source):
        error = torch.zeros(frame.shape[:2])
        for video in videos:
            difference = frame.astype(np.float32) - video[index]
            error += torch.from_numpy(np.square(difference).mean(-1))
        means = F.avg_pool2d(error[None, None], side, stride=STEP_PX)[0, 0]
        place = int(means.argmax())
        y, x = divmod(place, means.shape[1])
        worst = max(worst, (means.max().item(), Region(index, y * STEP_PX, x * STEP_PX, side)))
    return worst[1]


def draw_comparison(
    title: str, source: np.ndarray, videos: Mapping[str, np.ndarray]
) -> Image.Image:
    """Draw the picture of one clip.

    Args:
        title: of the clip.
        source: (T, H, W, 3) uint8.
        videos: name of a VAE -> its reconstruction.
    """
    region = worst_region(source, list(videos.values()))
    crop = region.cut(source)
    tile = region.side * ZOOM
    columns = [("source", "", crop, _locator(source[region.frame], region, tile))]
    for name, video in videos.items():
        own = region.cut(video)
        difference = np.abs(crop.astype(np.int16) - own) * BRIGHTER
        quality = f"{_psnr(crop, own):.1f} dB here, {_psnr(source, video):.1f} in all"
        columns.append((name, quality, own, difference.clip(max=255).astype(np.uint8)))
    head = LINE_PX * 3 + GAP_PX
    width = GAP_PX + len(columns) * (tile + GAP_PX)
    sheet = Image.new("RGB", (width, head + 2 * (tile + GAP_PX) + LINE_PX), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    where = f"frame {region.frame}, {region.side}x{region.side} px at ({region.x}, {region.y}), 4x"
    draw.text((GAP_PX, 4), _shortened(f"{title}: {where}", width, draw, font), INK, font)
    for number, (name, quality, upper, lower) in enumerate(columns):
        x = GAP_PX + number * (tile + GAP_PX)
        draw.text((x, LINE_PX + 4), _shortened(name, tile, draw, font), INK, font)
        draw.text((x, 2 * LINE_PX + 2), quality, PALE, font)
        sheet.paste(_enlarged(upper, tile), (x, head))
        sheet.paste(_enlarged(lower, tile), (x, head + tile + GAP_PX))
    foot = "below: place in the frame | absolute difference x5"
    draw.text((GAP_PX, head + 2 * (tile + GAP_PX) - 2), foot, PALE, font)
    return sheet


def file_name(clip: str) -> str:
    """Name of a clip's picture."""
    return re.sub(r"[^\w.+=()-]", "_", clip).strip(".")[:80] + ".png"


def _locator(frame: np.ndarray, region: Region, tile: int) -> np.ndarray:
    """The frame within a square, the region outlined."""
    image = Image.fromarray(frame)
    scale = tile / max(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
    box = [region.x, region.y, region.x + region.side, region.y + region.side]
    ImageDraw.Draw(image).rectangle([round(side * scale) for side in box], outline=MARK, width=2)
    square = Image.new("RGB", (tile, tile), (24, 24, 24))
    square.paste(image, (0, 0))
    return np.asarray(square)


def _enlarged(pixels: np.ndarray, tile: int) -> Image.Image:
    return Image.fromarray(pixels).resize((tile, tile), Image.Resampling.NEAREST)


def _psnr(x: np.ndarray, y: np.ndarray) -> float:
    error = np.square(x.astype(np.float32) - y).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def _shortened(
    text: str,
    width: int,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> str:
    """The end of a text, where a path says most, that fits into a width."""
    text = text.encode("latin-1", "replace").decode("latin-1")  # what the built-in font has
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"...{text}", font=font) > width:
        text = text[1:]
    return f"...{text}"
