"""Reading picture files that a user names: one upright RGB array, or one line that says why not."""

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
DEEP = ("I", "F")  # modes with more than eight bits per channel
FULL_16_BIT = 65535


class ImageFileError(UserError):
    """A picture file that cannot be used."""


def read_image(path: Path) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB, turned as its EXIF says.

    What is transparent is laid on white, as VACE's reference pictures are; the official code
    drops the alpha channel, which shows whatever colour a program left below it. Of animated
    files the first picture is taken.

    Raises:
        PictureError: missing, damaged, too large, or no picture.
    """
    if path.is_dir():
        raise ImageFileError(f"{path}: is a folder; need a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PIL, about metadata it cannot read
            with Image.open(path) as file:
                return np.asarray(_flat(ImageOps.exif_transpose(file)))
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path}: too many pixels; need a picture of at most 178 M") from None
    # PIL's readers raise what they stumble over
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError) as error:
        why = str(error).splitlines()[0].replace(f" '{path}'", "") if str(error) else "damaged"
        raise ImageFileError(f"{path}: not a picture that can be read: {why}") from None


def _flat(picture: Image.Image) -> Image.Image:
    """Eight bits, three channels, nothing transparent."""
    if picture.mode.startswith(DEEP):
        values = np.asarray(picture, dtype=np.float64)
        if picture.mode == "F" and values.max() <= 1:
            values = values * FULL_16_BIT
        picture = Image.fromarray((values.clip(0, FULL_16_BIT) / 257 + 0.5).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*WHITE, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")
