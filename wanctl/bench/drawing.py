"""Overlays and synthetic footage: text, logos, textures that resemble text, camera moves."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont


class TextLine(NamedTuple):
    """One rendered line of text.

    Attributes:
        mask: (H, W) float32 in [0, 1], cropped to the ink.
        words: the text.
    """

    mask: np.ndarray
    words: str


TYPEFACES = ("plain", "sans", "bold", "italic", "chinese")


def typefaces() -> tuple[str, ...]:
    """The typefaces that are available: one comes with Pillow, four with OpenCV 5."""
    return TYPEFACES if hasattr(cv2, "FontFace") else TYPEFACES[:1]


def text_line(words: str, height: int, face: str = "plain") -> TextLine:
    """A line of words whose ink is about `height` pixels high."""
    # drawn four times as large and shrunk, so that both libraries give soft edges
    size = 4 * height
    mask = _pillow_mask(words, size) if face == "plain" else _opencv_mask(words, size, face)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = height / mask.shape[0]
    small = (max(1, round(mask.shape[1] * scale)), height)
    shrunk = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)
    return TextLine(shrunk.astype(np.float32) / 255, words)


def _pillow_mask(words: str, size: int) -> np.ndarray:
    font = ImageFont.load_default(size)
    left, top, right, bottom = map(int, font.getbbox(words))
    image = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(image).text((4 - left, 4 - top), words, font=font, fill=255)
    return np.asarray(image)


def _opencv_mask(words: str, size: int, face: str) -> np.ndarray:
    family, weight = {
        "sans": ("sans", 400),
        "bold": ("sans", 800),
        "italic": ("italic", 400),
        "chinese": ("uni", 400),
    }[face]
    canvas = np.zeros((3 * size, (len(words) + 4) * size, 3), np.uint8)
    font = cv2.FontFace(family)  # type: ignore[attr-defined]
    cv2.putText(canvas, words, (size, 2 * size), (255, 255, 255), font, size, weight)  # type: ignore[call-overload]
    return canvas[..., 0]


def blend_mask(
    frames: np.ndarray, mask: np.ndarray, at: tuple[int, int], colour: Sequence[int], alpha: float
) -> None:
    """Blend a mask in one colour into all frames, in place; `at` is x, y of its corner."""
    x, y = at
    height, width = mask.shape
    part = frames[:, y : y + height, x : x + width]
    cover = (alpha * mask)[None, :, :, None]
    mixed = part * (1 - cover) + np.array(colour, np.float32) * cover
    part[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def station_logo(size: int, kind: int) -> np.ndarray:
    """(size, wider) mask of a station's mark: ring with letters, box with letters, or letters."""
    words = ("WN", "TV7", "LIVE")[kind % 3]
    letters = text_line(
        words, round(size * (0.42, 0.5, 1.0)[kind % 3]), typefaces()[-3 % len(typefaces())]
    )
    if kind % 3 == 2:
        return letters.mask
    width = max(size, letters.mask.shape[1] + size // 3)
    mask = np.zeros((size, width), np.float32)
    thick = max(2, size // 12)
    if kind % 3 == 0:
        centre, axes = (width // 2, size // 2), (width // 2 - thick, size // 2 - thick)
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, thick, cv2.LINE_AA)
    else:
        cv2.rectangle(mask, (0, 0), (width - 1, size - 1), 1.0, thick)
    y, x = (size - letters.mask.shape[0]) // 2, (width - letters.mask.shape[1]) // 2
    inside = mask[y : y + letters.mask.shape[0], x : x + letters.mask.shape[1]]
    np.maximum(inside, letters.mask, out=inside)
    return mask


TEXT_LOOKALIKES = ("bricks", "keyboard", "foliage", "fence", "windows")


def text_lookalike(kind: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """A still (height, width, 3) uint8 that text detectors may mistake for text."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1, (height // 8 + 1, width // 8 + 1)).astype(np.float32)
    light = cv2.resize(base, (width, height), interpolation=cv2.INTER_CUBIC)
    image = _TEXTURES[kind](height, width, rng) + 8 * light[..., None]
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    image += rng.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _bricks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = np.full((height, width, 3), (188, 182, 172), np.float32)
    tall, wide = height // 14, width // 12
    for row in range(16):
        for column in range(-1, 14):
            x, y = column * wide + (row % 2) * wide // 2, row * tall
            tint = np.array((150, 70, 52)) + rng.normal(0, 14, 3)
            corner, end = (x + 2, y + 2), (x + wide - 3, y + tall - 3)
            cv2.rectangle(image, corner, end, tuple(map(float, tint)), -1)
    return image


def _keyboard(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Keys without letters, which would be text."""
    image = np.full((height, width, 3), 70.0, np.float32)
    tall, wide = height // 6, width // 15
    for row in range(6):
        for column in range(-1, 16):
            x, y = column * wide + row * wide // 5, row * tall
            shade = 28 + float(rng.normal(0, 3))
            cv2.rectangle(image, (x + 4, y + 4), (x + wide - 4, y + tall - 5), (shade,) * 3, -1)
            top = (shade + 22,) * 3
            cv2.rectangle(image, (x + 7, y + 6), (x + wide - 8, y + tall - 12), top, -1)
    return image


def _foliage(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = np.full((height, width, 3), (24, 40, 18), np.float32)
    for _ in range(2600):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(3, 13)), int(rng.integers(2, 5)))
        green = np.array((40, 95, 30)) * rng.uniform(0.4, 1.9)
        angle = float(rng.uniform(0, 180))
        colour = tuple(map(float, green))
        cv2.ellipse(image, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    return image


def _fence(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = np.full((height, width, 3), (120, 150, 120), np.float32)
    for x in range(-height, width, 22):
        shade = (float(rng.uniform(190, 235)),) * 3
        cv2.line(image, (x, 0), (x + height, height), shade, 3, cv2.LINE_AA)
        cv2.line(image, (x + height, 0), (x, height), shade, 3, cv2.LINE_AA)
    return image


def _windows(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = np.full((height, width, 3), (96, 98, 104), np.float32)
    for y in range(6, height, 26):
        for x in range(6, width, 18):
            lit = rng.random() < 0.4
            colour = (235.0, 215.0, 150.0) if lit else (40.0, 46.0, 60.0)
            cv2.rectangle(image, (x, y), (x + 9, y + 15), colour, -1)
    return image


_TEXTURES: dict[str, Callable[..., np.ndarray]] = dict(
    zip(TEXT_LOOKALIKES, (_bricks, _keyboard, _foliage, _fence, _windows), strict=True)
)


def film_still(
    still: np.ndarray, path: np.ndarray, size: tuple[int, int], blur: bool = False
) -> np.ndarray:
    """Render the view of a camera that moves over a still.

    Args:
        still: (H, W, 3) uint8, the scene.
        path: (T, 4): centre x, centre y in pixels of the scene, zoom, turn in degrees.
        size: width and height of the film.
        blur: blur each frame along the motion to the next, as a shutter does.

    Returns:
        (T, height, width, 3) uint8.
    """
    steps = 5 if blur else 1
    frames = []
    for index, pose in enumerate(path):
        after = path[min(index + 1, len(path) - 1)]
        views = [
            _view(still, pose + (after - pose) * step / steps * 0.8, size) for step in range(steps)
        ]
        frames.append(np.mean(views, axis=0).astype(np.uint8) if blur else views[0])
    return np.stack(frames)


def _view(still: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    x, y, zoom, turn = map(float, pose)
    matrix = cv2.getRotationMatrix2D((x, y), turn, zoom)
    matrix[:, 2] += size[0] / 2 - x, size[1] / 2 - y
    how = cv2.INTER_LINEAR if zoom >= 1 else cv2.INTER_AREA
    return cv2.warpAffine(still, matrix, size, flags=how, borderMode=cv2.BORDER_REFLECT_101)


def pan_still(still: np.ndarray, size: tuple[int, int], frames: int, step_px: float) -> np.ndarray:
    """A straight pan to the right over a still that is wide enough."""
    path = np.zeros((frames, 4))
    path[:, 0] = size[0] / 2 + step_px * np.arange(frames)
    path[:, 1] = still.shape[0] / 2
    path[:, 2] = 1.0
    return film_still(still, path, size)
