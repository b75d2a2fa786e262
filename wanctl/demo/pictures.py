"""demo.png and demo.gif: each sample beside the training window it is closest to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wanctl.demo.nearest import Match

SHOWN_FRAMES = 5
SHEET_SCALE, GIF_SCALE = 3, 3
GAP_PX, MARGIN_PX, LABEL_PX = 4, 10, 18
GIF_FRAME_MS = 80  # 12.5 frames/s, the nearest to the clips' 12 that a GIF can have
GIF_COLOURS = 160  # of the demo's clips 1.2 MB; 64 colours lose the red of a small bow tie
PAPER, INK, SOFT = (255, 255, 255), (20, 24, 28), (90, 100, 110)


def draw_sheet(path: Path, matches: Sequence[Match]) -> None:
    """Write evenly spaced frames of each sample above those of its closest training window."""
    image = _stacked([_block(match) for match in matches])
    image.save(path, optimize=True)


def draw_gif(path: Path, matches: Sequence[Match]) -> None:
    """Write an endless animation: a row per sample, the sample left, its closest window right."""
    length = min(len(match.frames) for match in matches)
    pages = [_stacked([_pair(match, index) for match in matches]) for index in range(length)]
    # One palette for all frames, so that still areas do not flicker and compress well.
    palette = _palette(pages)
    small = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    small[0].save(
        path, save_all=True, append_images=small[1:], duration=GIF_FRAME_MS, loop=0, optimize=True
    )


def _block(match: Match) -> Image.Image:
    """A prompt, the sample's frames and those of the window, with the figures."""
    own = match.own
    taken = np.linspace(0, len(match.frames) - 1, SHOWN_FRAMES).round().astype(int)
    strips = [
        np.hstack([_enlarged(video[index], SHEET_SCALE) for index in taken])
        for video in (match.frames, match.window)
    ]
    figures = (
        f"closest training window: {own.psnr_db:.1f} dB, ST-LPIPS {own.st_lpips:.3f}, "
        f"motion of the sample {own.motion:.2f} of the window's"
    )
    return _captioned(match.prompt, [("sample", strips[0]), (figures, strips[1])])


def _pair(match: Match, index: int) -> Image.Image:
    pair = [_enlarged(video[index], GIF_SCALE) for video in (match.frames, match.window)]
    return _captioned(match.prompt, [("sample  |  closest training window", np.hstack(pair))])


def _captioned(title: str, rows: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """A title over rows of pictures with a line of text above each."""
    width = rows[0][1].shape[1] - GAP_PX
    font, small = (ImageFont.load_default(size) for size in (15, 13))
    lines = _wrapped(title, font, width)
    text_px = LABEL_PX * (len(lines) + len(rows))
    height = MARGIN_PX + text_px + sum(row.shape[0] for _, row in rows)
    image = Image.new("RGB", (width + 2 * MARGIN_PX, height), PAPER)
    draw, top = ImageDraw.Draw(image), MARGIN_PX
    for line in lines:
        draw.text((MARGIN_PX, top - 3), line, font=font, fill=INK)
        top += LABEL_PX
    for label, row in rows:
        draw.text((MARGIN_PX, top - 1), label, font=small, fill=SOFT)
        top += LABEL_PX
        image.paste(Image.fromarray(row[:, :width]), (MARGIN_PX, top))
        top += row.shape[0]
    return image


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    """Lines of a text that are at most `width` pixels long."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _enlarged(frame: np.ndarray, scale: int) -> np.ndarray:
    """A frame (H, W, 3) uint8 at `scale` times its size, with a gap to the right and below."""
    height, width, _ = frame.shape
    large = Image.fromarray(frame).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large), ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)


def _stacked(images: Sequence[Image.Image]) -> Image.Image:
    width = max(image.width for image in images)
    sheet = Image.new("RGB", (width, sum(image.height for image in images) + MARGIN_PX), PAPER)
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    return sheet


def _palette(pages: Sequence[Image.Image]) -> Image.Image:
    """One palette for all pages, made from the first, the middle and the last."""
    some = [pages[0], pages[len(pages) // 2], pages[-1]]
    return _stacked(some).quantize(GIF_COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
