"""What text is written on: white, gradients, textures, frames of real footage."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

KINDS = ("gradient", "texture", "frame")


def white(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 of nothing."""
    return np.full((height, width, 3), 255, np.uint8)


def composed(
    random: np.random.Generator, height: int, width: int, frames: Sequence[np.ndarray]
) -> tuple[str, np.ndarray]:
    """A ground that is not plain.

    Args:
        random: draws it.
        height: pixels.
        width: pixels.
        frames: (H, W, 3) uint8 pictures of real footage; none: no such grounds.

    Returns:
        Its kind and (height, width, 3) uint8.
    """
    kind = KINDS[int(random.integers(3 if frames else 2))]
    if kind == "frame":
        return kind, _cover(frames[int(random.integers(len(frames)))], height, width, random)
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
    """Noise of several grains around one colour: paper, plaster, cloth."""
    field = np.zeros((height, width))
    for cells in (4, 12, 40):
        grain = Image.fromarray(random.uniform(0, 1, (cells, cells)).astype(np.float32))
        field += np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC)) / cells**0.5
    field = (field - field.mean()) / field.std()
    colour, strength = random.uniform(40, 220, 3), random.uniform(4, 18)
    return (colour + strength * field[..., None]).clip(0, 255).round().astype(np.uint8)


def _cover(picture: np.ndarray, height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A random cut of a picture, scaled to cover the size."""
    image = Image.fromarray(picture)
    scale = max(width / image.width, height / image.height)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    x = int(random.integers(image.width - width + 1))
    y = int(random.integers(image.height - height + 1))
    return np.asarray(image.crop((x, y, x + width, y + height)))
