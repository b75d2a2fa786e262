"""Reads image files that a user names into upright RGB arrays; errors are one line."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from wanctl.errors import UserError

IMAGE_SUFFIXES = frozenset(
    f".{name}" for name in ("avif", "bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp")
)
WHITE = (255, 255, 255)
HIGH_BIT_DEPTH_MODES = ("I", "F")  # more than eight bits per channel
FULL_16_BIT = 65535


class ImageFileError(UserError):
    """An image file that cannot be used."""


def read_image(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, rotated by its EXIF orientation.

    Transparent pixels are blended with white, like VACE's reference images; the official code drops
    the alpha channel, which shows whatever colour a program stored below it. Of animated files the
    first frame is read.

    Raises:
        PictureError: missing, damaged, too large, or not an image.
    """
    if path.is_dir():
        raise ImageFileError(f"{path}: is a folder; need a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns about metadata that it cannot read
            with Image.open(path) as file:
                return np.asarray(_to_rgb8(ImageOps.exif_transpose(file)))
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path}: too many pixels; need a picture of at most 178 M") from None
    # PIL's readers let errors of any kind through
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError) as error:
        why = str(error).splitlines()[0].replace(f" '{path}'", "") if str(error) else "damaged"
        raise ImageFileError(f"{path}: not a picture that can be read: {why}") from None


def _to_rgb8(picture: Image.Image) -> Image.Image:
    """Convert to eight bits and three channels without transparency."""
    if picture.mode.startswith(HIGH_BIT_DEPTH_MODES):
        values = np.asarray(picture, dtype=np.float64)
        if picture.mode == "F" and values.max() <= 1:
            values = values * FULL_16_BIT
        picture = Image.fromarray((values.clip(0, FULL_16_BIT) / 257 + 0.5).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        background = Image.new("RGBA", picture.size, (*WHITE, 255))
        picture = Image.alpha_composite(background, picture)
    return picture.convert("RGB")
