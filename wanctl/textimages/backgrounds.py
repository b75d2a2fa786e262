"""Backgrounds of text images: white, gradients, textures, frames of real footage."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

KINDS = ("gradient", "texture", "frame")


def white_background(height: int, width: int) -> np.ndarray:
    """A white (H, W, 3) uint8 image."""
    return np.full((height, width, 3), 255, np.uint8)


def composed_background(
    random: np.random.Generator, height: int, width: int, frames: Sequence[np.ndarray]
) -> tuple[str, np.ndarray]:
    """Draw a background that is not plain.

    Args:
        random: draws the kind and the colours.
        height: pixels.
        width: pixels.
        frames: (H, W, 3) uint8 frames of real footage; where empty, none are used.

    Returns:
        The kind, one of KINDS, and a (height, width, 3) uint8 image.
    """
    kind = KINDS[int(random.integers(3 if frames else 2))]
    if kind == "frame":
        return kind, _random_crop(frames[int(random.integers(len(frames)))], height, width, random)
    if kind == "gradient":
        return kind, _gradient(random, height, width)
    return kind, _texture(random, height, width)


def _gradient(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    along = x / width * np.cos(angle) + y / height * np.sin(angle)
    along = (along - along.min()) / np.ptp(along)
    first, second = random.uniform(0, 255, (2, 3))
    return (first + along[..., None] * (second - first)).round().astype(np.uint8)


def _texture(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several scales around one colour, like paper, plaster or cloth."""
    field = np.zeros((height, width))
    for cells in (4, 12, 40):
        grain = Image.fromarray(random.uniform(0, 1, (cells, cells)).astype(np.float32))
        field += np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC)) / cells**0.5
    field = (field - field.mean()) / field.std()
    colour, strength = random.uniform(40, 220, 3), random.uniform(4, 18)
    return (colour + strength * field[..., None]).clip(0, 255).round().astype(np.uint8)


def _random_crop(
    frame: np.ndarray, height: int, width: int, random: np.random.Generator
) -> np.ndarray:
    """A random crop of a frame that was scaled to at least the size."""
    image = Image.fromarray(frame)
    scale = max(width / image.width, height / image.height)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    x = int(random.integers(image.width - width + 1))
    y = int(random.integers(image.height - height + 1))
    return np.asarray(image.crop((x, y, x + width, y + height)))
