"""Size, length and frames of VACE's source video by the official rules, and its resizing.

Arithmetic and resizing only: nothing here depends on a model or a file.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.errors import UserError
from wanctl.model.shapes import PATCH, SPATIAL_STRIDE, PixelShape, latent_frames, pixel_frames

SIDE = SPATIAL_STRIDE * PATCH[1]
"""Pixels per token and side: sizes are multiples of it."""

# 81 frames. The official loader knows 75,600 tokens for 720x1280 and 32,760 for 480x832 and
# refuses every other canvas; both are 21 latent frames of it, and so is the rule here.
LATENT_FRAMES = 21


def source_shape(height: int, width: int, num_frames: int, canvas: tuple[int, int]) -> PixelShape:
    """The size and length to which a source video is resized.

    Keeps the aspect ratio up to multiples of 16, never enlarges, and stays within the canvas's area
    and within the tokens of 81 frames of it. A small source may be longer.

    Args:
        height: of the source, pixels.
        width: of the source.
        num_frames: of the source.
        canvas: (height, width) whose area is the limit.

    Raises:
        UserError: the source has no picture, or is too small or too narrow for one token.
    """
    if num_frames < 1:
        raise UserError("video: holds no picture")
    area = canvas[0] * canvas[1] / SIDE**2
    budget = int(LATENT_FRAMES * area)
    tokens = min(budget, area, (height // SIDE) * (width // SIDE))
    if tokens < 1:
        raise UserError(
            f"video: got {width}x{height} for a canvas of {canvas[1]}x{canvas[0]}; each side needs "
            f"{SIDE} pixels or more"
        )
    length = min(latent_frames(num_frames), int(budget / tokens))
    tokens = min(tokens, int(budget / length))
    rows = round(math.sqrt(tokens * (height / width)))
    columns = int(tokens / rows) if rows else 0
    if not columns:
        raise UserError(f"video: got {width}x{height}; too narrow to be scaled to {canvas}")
    return PixelShape(pixel_frames(length), rows * SIDE, columns * SIDE)


def frame_ids(starts_s: np.ndarray, ends_s: np.ndarray, frames: int) -> list[int]:
    """Indices of source frames, evenly spread from the first to the last.

    The official code takes the first frame whose interval holds the time, and frame 0 where none
    does, as happens in videos with gaps; here that is the next frame.

    Args:
        starts_s: (N,) seconds at which the frames start.
        ends_s: (N,) seconds at which they end.
        frames: number of indices.
    """
    # fp32, as the official reader gives them: it decides where a time falls on a border.
    starts, ends = starts_s.astype(np.float32), ends_s.astype(np.float32)
    last = np.array([starts[-1], ends[-1]]).mean()
    times = np.linspace(0.0, last, frames)
    return np.minimum(np.searchsorted(ends, times, side="left"), len(ends) - 1).tolist()


def resize_crop_uint8(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize frames to cover a size, crop the centre and scale to [-1, 1].

    Bicubic with antialiasing on uint8, which rounds as the official code does.

    Args:
        frames: (T, C, H, W) uint8.
        height: of the result, pixels.
        width: of the result, pixels.

    Returns:
        (C, T, height, width) fp32 in [-1, 1].
    """
    rows, columns = frames.shape[2:]
    if (rows, columns) != (height, width):
        scale = max(width / columns, height / rows)
        size = (round(scale * rows), round(scale * columns))
        frames = F.interpolate(frames, size=size, mode="bicubic", antialias=True)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        frames = frames[:, :, top : top + height, left : left + width]
    return frames.transpose(0, 1).float().div_(127.5).sub_(1)


def letterbox_white(picture: Tensor, height: int, width: int) -> Tensor:
    """Fit a reference image into a white canvas without cropping.

    Args:
        picture: (3, H, W) fp32 in [-1, 1].
        height: of the canvas.
        width: of the canvas.

    Returns:
        (3, height, width) fp32.

    Raises:
        UserError: the image is so narrow that nothing would be left of it.
    """
    rows, columns = picture.shape[1:]
    if (rows, columns) == (height, width):
        return picture
    scale = min(height / rows, width / columns)
    size = (int(rows * scale), int(columns * scale))
    if not all(size):
        raise UserError(
            f"references: got a picture of {columns}x{rows}; nothing is left of it on a canvas of "
            f"{width}x{height}"
        )
    small = F.interpolate(picture[None], size=size, mode="bilinear", align_corners=False)[0]
    canvas = torch.ones(3, height, width)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    canvas[:, top : top + size[0], left : left + size[1]] = small
    return canvas
