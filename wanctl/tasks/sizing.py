"""The size of a video made from an image, and the resizing of the image to that size.

Follows the official rules bit for bit: sizes come from floor divisions of floats, whose rounding is
surprising. An image of 832x480 at 480p gives 832x464, because 399360 * (480 / 832) is
230399.99999999997.
"""

import math

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wanctl.errors import UserError
from wanctl.model.shapes import PATCH
from wanctl.tasks.pixels import to_array, to_float

Size = tuple[int, int]
"""(height, width) in pixels."""


def shape_of_area(key: str, size: Size, area: int, stride: int) -> Size:
    """The size with an image's aspect ratio whose area is at most `area` (I2V, FLF2V).

    Args:
        key: recipe key of the image, for messages.
        size: size of the image.
        area: area of the video, pixels.
        stride: spatial stride of the VAE.

    Raises:
        UserError: `KEY: message`; the image is so narrow that a side would be 0.
    """
    ratio = size[0] / size[1]
    rows = round(math.sqrt(area * ratio) // stride // PATCH[1] * PATCH[1])
    columns = round(math.sqrt(area / ratio) // stride // PATCH[2] * PATCH[2])
    return _check_sides(key, size, area, (rows * stride, columns * stride))


def shape_of_sides(key: str, size: Size, area: int, multiple: int) -> Size:
    """The size nearest to an image's aspect ratio, sides rounded to multiples in turn (TI2V).

    Of two candidates, with the width or the height rounded first, the nearer in aspect ratio is
    taken, and of equally near ones the second.

    Args:
        key: recipe key of the image, for messages.
        size: size of the image.
        area: area of the video, pixels.
        multiple: both sides are multiples of it.

    Raises:
        UserError: `KEY: message`; the image is so narrow that a side would be 0.
    """
    ratio = size[1] / size[0]
    width = math.sqrt(area * ratio)
    height = area / width
    first_width = int(width // multiple * multiple)
    second_height = int(height // multiple * multiple)
    _check_sides(key, size, area, (second_height, first_width))
    first = (int(area / first_width // multiple * multiple), first_width)
    second = (second_height, int(area / second_height // multiple * multiple))

    def distance(candidate: Size) -> float:
        got = candidate[1] / candidate[0]
        return max(ratio / got, got / ratio)

    return first if distance(first) < distance(second) else second


def shape_below_area(key: str, size: Size, area: int, multiple: int) -> Size:
    """The largest size of an image, scaled down and padded to multiples, within an area (S2V).

    Of 100 scales from the largest possible one down the first that fits; an image is never
    enlarged.

    Args:
        key: recipe key of the image, for messages.
        size: size of the image.
        area: area of the video, pixels.
        multiple: both sides are multiples of it.

    Raises:
        UserError: `KEY: message`; no size fits.
    """
    height, width = size
    smallest, largest = 0.1, 1.0
    if height * width > area:  # between padding as much as possible, and none
        most = multiple - 1
        a, b, c = height * width, most * (height + width), most**2 - area
        smallest = (math.sqrt(b**2 - 2 * a * c) - b) / (2 * a)
        largest = math.sqrt(area / a)
    for step in range(100):
        scale = largest - (largest - smallest) * step / 100
        rows, columns = (-(-int(side * scale) // multiple) * multiple for side in size)
        if rows * columns <= area:
            return _check_sides(key, size, area, (rows, columns))
    return _check_sides(key, size, area, (0, 0))


def resize_short_crop(picture: Tensor, size: Size) -> Tensor:
    """Resize an image's short side to a size's and crop the centre: PIL's bilinear, as in S2V.

    Where this would leave a border, the image is resized to cover the size instead.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        size: of nearly the image's aspect ratio.
    """
    (height, width), (rows, columns) = size, picture.shape[1:]
    short = min(height, width)
    if rows < columns:
        tall, wide = short, int(short * columns / rows)
    else:
        tall, wide = int(short * rows / columns), short
    if tall < height or wide < width:
        scale = max(height / rows, width / columns)
        tall, wide = max(height, round(rows * scale)), max(width, round(columns * scale))
    image = Image.fromarray(to_array(picture))
    if (tall, wide) != (rows, columns):
        image = image.resize((wide, tall), Image.Resampling.BILINEAR)
    top, left = round((tall - height) / 2), round((wide - width) / 2)
    return to_float(np.asarray(image.crop((left, top, left + width, top + height))))


def resize_bicubic(picture: Tensor, size: Size) -> Tensor:
    """Resize an image to exactly this size: bicubic without antialiasing, as I2V was trained.

    Args:
        picture: (3, H, W) fp32.
        size: with nearly the image's aspect ratio.
    """
    return F.interpolate(picture[None], size=size, mode="bicubic", align_corners=False)[0]


def resize_crop_lanczos(picture: Tensor, size: Size) -> Tensor:
    """Resize an image to cover a size and crop its centre: PIL's Lanczos, as in TI2V.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        size: of any aspect ratio.
    """
    height, width = size
    rows, columns = picture.shape[1:]
    if (rows, columns) == size:
        return picture
    scale = max(width / columns, height / rows)
    large = Image.fromarray(to_array(picture)).resize(
        (round(columns * scale), round(rows * scale)), Image.Resampling.LANCZOS
    )
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return to_float(np.asarray(large.crop((left, top, left + width, top + height))))


def letterbox_lanczos(picture: Tensor, size: Size) -> Tensor:
    """Fit a reference image into a white canvas without cropping: PIL's Lanczos, as in Phantom.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        size: of the canvas.

    Raises:
        UserError: the image is so narrow that nothing would be left of it.
    """
    (height, width), (rows, columns) = size, picture.shape[1:]
    ratio = columns / rows
    wide = ratio > width / height
    small = (int(width / ratio), width) if wide else (height, int(height * ratio))
    if not all(small):
        raise UserError(
            f"references: got a picture of {columns}x{rows}; nothing is left of it on a canvas of "
            f"{width}x{height}"
        )
    fitted = Image.fromarray(to_array(picture)).resize(
        (small[1], small[0]), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(fitted, ((width - small[1]) // 2, (height - small[0]) // 2))
    return to_float(np.asarray(canvas))


def letterbox_region(picture: Size, size: Size) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a picture that fills a size as far as its ratio lets it."""
    (rows, columns), (height, width) = picture, size
    wide = width / height < columns / rows
    inner = (rows * width // columns, width) if wide else (height, columns * height // rows)
    return (height - inner[0]) // 2, (width - inner[1]) // 2, *inner


def letterbox_black(picture: Tensor, size: Size, resample: Image.Resampling) -> Tensor:
    """Resize an image into a size and fill the rest with black, as Animate 2 was trained.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        size: of any aspect ratio.
        resample: PIL's method.
    """
    top, left, *inner = letterbox_region((picture.shape[1], picture.shape[2]), size)
    resized = Image.fromarray(to_array(picture)).resize((inner[1], inner[0]), resample)
    canvas = Image.new("RGB", (size[1], size[0]))
    canvas.paste(resized, (left, top))
    return to_float(np.asarray(canvas))


def padded_square(picture: Tensor, side: int) -> Tensor:
    """Pad an image with white to a square and resize that, averaging areas, as Stand-In does.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        side: of the result.
    """
    import cv2  # noqa: PLC0415  half a second that other tasks do not wait for

    rows, columns = picture.shape[1:]
    longest = max(rows, columns)
    top, left = (longest - rows) // 2, (longest - columns) // 2
    square = np.full((longest, longest, 3), 255, np.uint8)
    square[top : top + rows, left : left + columns] = to_array(picture)
    return to_float(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA))


def _check_sides(key: str, size: Size, area: int, sides: Size) -> Size:
    if min(sides) < 1:
        raise UserError(
            f"{key}: got a picture of {size[1]}x{size[0]}; too narrow for a video of {area} pixels"
        )
    return sides
