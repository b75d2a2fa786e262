"""How large a video is that is made from a picture, and how the picture is brought to that size.

The official rules to the last bit: sizes come from floor divisions of floats, which round where
one does not expect it. A picture of 832x480 asked for at 480p gives 832x464, because
399360 * (480 / 832) is 230399.99999999997.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wanctl.errors import UserError
from wanctl.model.shapes import PATCH

Size = tuple[int, int]
"""(height, width) in pixels."""


def shape_of_area(key: str, size: Size, area: int, stride: int) -> Size:
    """The size with a picture's shape whose area is at most `area` (I2V, FLF2V).

    Args:
        key: names the picture in messages.
        size: of the picture.
        area: of the video, pixels.
        stride: of the VAE.

    Raises:
        UserError: `KEY: message`; the picture is so narrow that a side would vanish.
    """
    ratio = size[0] / size[1]
    rows = round(math.sqrt(area * ratio) // stride // PATCH[1] * PATCH[1])
    columns = round(math.sqrt(area / ratio) // stride // PATCH[2] * PATCH[2])
    return _whole(key, size, area, (rows * stride, columns * stride))


def shape_of_sides(key: str, size: Size, area: int, multiple: int) -> Size:
    """The size nearest to a picture's shape: sides rounded to multiples one by one (TI2V).

    Two candidates, one with the width rounded first and one with the height; the nearer in shape
    is taken, and of equally near ones the second.

    Args:
        key: names the picture in messages.
        size: of the picture.
        area: of the video, pixels.
        multiple: of both sides.

    Raises:
        UserError: as above.
    """
    ratio = size[1] / size[0]
    width = math.sqrt(area * ratio)
    height = area / width
    first_width = int(width // multiple * multiple)
    second_height = int(height // multiple * multiple)
    _whole(key, size, area, (second_height, first_width))
    first = (int(area / first_width // multiple * multiple), first_width)
    second = (second_height, int(area / second_height // multiple * multiple))

    def distance(candidate: Size) -> float:
        got = candidate[1] / candidate[0]
        return max(ratio / got, got / ratio)

    return first if distance(first) < distance(second) else second


def resize_bicubic(picture: Tensor, size: Size) -> Tensor:
    """A picture at exactly this size: bicubic without antialiasing, as I2V was trained.

    Args:
        picture: (3, H, W) fp32.
        size: whose shape is nearly the picture's.
    """
    return F.interpolate(picture[None], size=size, mode="bicubic", align_corners=False)[0]


def resize_crop_lanczos(picture: Tensor, size: Size) -> Tensor:
    """A picture scaled to cover a size, and its centre cut out: PIL's Lanczos, as TI2V does it.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        size: of any shape.
    """
    height, width = size
    rows, columns = picture.shape[1:]
    if (rows, columns) == size:
        return picture
    scale = max(width / columns, height / rows)
    large = Image.fromarray(to_uint8(picture)).resize(
        (round(columns * scale), round(rows * scale)), Image.Resampling.LANCZOS
    )
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return to_float(np.asarray(large.crop((left, top, left + width, top + height))))


def to_float(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 as (3, H, W) fp32 in [-1, 1], by the official expression."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).float().div(255).sub_(0.5).div_(0.5)


def to_uint8(picture: Tensor) -> np.ndarray:
    """The way back; exact for what `to_float` made."""
    scaled = (picture.clamp(-1, 1) + 1).mul(127.5).round()
    return scaled.permute(1, 2, 0).to(torch.uint8).contiguous().numpy()


def _whole(key: str, size: Size, area: int, found: Size) -> Size:
    if min(found) < 1:
        raise UserError(
            f"{key}: got a picture of {size[1]}x{size[0]}; too narrow for a video of {area} pixels"
        )
    return found
