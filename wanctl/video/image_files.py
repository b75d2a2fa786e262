"""Opens image files of other people: the only place that does. Errors are one line.

Only common formats that hold their own pixels are read: EPS would run Ghostscript, and the readers
of rare formats are hardly tried on hostile files.
"""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from wanctl.errors import UserError
from wanctl.textfiles import lfs_pointer_in

IMAGE_SUFFIXES = frozenset(
    f".{name}" for name in ("avif", "bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp")
)
# Pillow's names; MPO is what some cameras and phones write as .jpg
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "TIFF", "AVIF", "GIF", "PPM")
WHITE = (255, 255, 255)
HIGH_BIT_DEPTH_MODES = ("I", "F")  # more than eight bits per channel
FULL_16_BIT = 65535

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Pillow refuses an image when one of these unpacks to more than 1 MB; ComfyUI stores workflows of
# several. The colour profile is not applied, and of the texts only two can say how to turn it.
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_PNG_TURNS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_MAX_TEXT_BYTES = 1 << 19
_ORIENTATION_TAG = 0x0112
# EXIF 2.3, table 4.6.4: how the stored image is turned for display
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageFileError(UserError):
    """An image file that cannot be used."""


def read_image(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, rotated by its EXIF orientation.

    Transparent pixels are blended with white, like VACE's reference images; the official code drops
    the alpha channel, which shows whatever colour a program stored below it. Of animated files the
    first frame is read.

    Raises:
        ImageFileError: missing, damaged, too large, or not an image.
    """
    with open_image(path) as image:
        return np.asarray(_to_rgb8(_upright(image)))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as shown, rotated by its EXIF orientation; decodes it.

    Raises:
        ImageFileError: missing, damaged, too large, or not an image.
    """
    with open_image(path) as image:
        image.load()
        turned = _TURNS.get(_orientation(image), 0) in (
            Image.Transpose.TRANSPOSE,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
            Image.Transpose.ROTATE_270,
        )
        return (image.height, image.width) if turned else (image.width, image.height)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image by its content; errors inside the block, where it is decoded, are caught too.

    Raises:
        ImageFileError: missing, damaged, too large, or not an image.
    """
    with _opened(path) as image:
        yield image


def read_png_texts(path: Path) -> dict[str, str]:
    """The key/value pairs of a PNG, as `write_png` stores them.

    Raises:
        ImageFileError: missing, damaged, or not a PNG.
    """
    with _opened(path, with_texts=True) as image:
        image.load()  # the texts may lie behind the pixels
        return {str(k): v for k, v in image.info.items() if isinstance(v, str)}


@contextmanager
def _opened(path: Path, *, with_texts: bool = False) -> Iterator[Image.Image]:
    if path.is_dir():
        raise ImageFileError(f"{path}: is a folder; need a picture file")
    if path.exists() and not path.is_file():
        raise ImageFileError(f"{path}: is a pipe, a socket or a device; need a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about metadata that it cannot read
            with (
                path.open("rb") as file,
                Image.open(
                    file if with_texts else _without_texts(file), formats=_formats()
                ) as image,
            ):
                yield image
    except UserError:
        raise
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except (Image.DecompressionBombError, MemoryError):
        raise ImageFileError(f"{path}: too many pixels; need a picture of at most 178 M") from None
    except Exception as error:  # Pillow's readers let errors of any kind through
        if pointer := lfs_pointer_in(path):
            raise ImageFileError(f"{path}: is {pointer}") from None
        raise ImageFileError(f"{path}: not a picture that can be read: {_why(error)}") from None


def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _why(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"need one of {', '.join(_formats())}"
    text = str(error)
    return text.splitlines()[0] if text else "damaged"


def _without_texts(file: BinaryIO) -> BinaryIO:
    """The file; of a PNG a copy without texts and colour profile, whatever size they unpack to."""
    if file.read(8) != _PNG_SIGNATURE:
        file.seek(0)
        return file
    copy = io.BytesIO()
    copy.write(_PNG_SIGNATURE)
    size = os.fstat(file.fileno()).st_size  # a damaged length may claim 4 GB
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind not in _PNG_TEXTS or length <= _MAX_TEXT_BYTES:
            chunk = file.read(min(length + 4, size))  # with its checksum
            if kind not in _PNG_TEXTS or _says_how_to_turn(kind, chunk[:-4]):
                copy.write(head + chunk)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    copy.seek(0)
    return copy


def _says_how_to_turn(kind: bytes, chunk: bytes) -> bool:
    keyword, _, rest = chunk.partition(b"\0")
    if keyword not in _PNG_TURNS:
        return False
    if kind == b"zTXt":
        packed = rest[1:]
    elif kind == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].split(b"\0", 2)[-1]
    else:
        return True
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, _MAX_TEXT_BYTES)
    except zlib.error:
        return False
    return unpacker.eof


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a damaged tag is no reason to refuse the pixels
        return 1


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # Pillow turns a TIFF while it is decoded
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


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
