"""Pixels between uint8 and [-1, 1]: each rounding rule of the official code, once.

Shapes: H/W pixels, T frames.
"""

import numpy as np
import torch
from torch import Tensor


def to_float(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 as (3, H, W) fp32 in [-1, 1], by the official expression."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255).sub_(0.5).div_(0.5)


def to_uint8(pixels: Tensor) -> Tensor:
    """Values in [-1, 1] of any shape as the nearest uint8; inverts `to_float` exactly."""
    return (pixels.clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)


def to_array(image: Tensor) -> np.ndarray:
    """(3, H, W) values in [-1, 1] as (H, W, 3) uint8, rounded to the nearest."""
    return to_uint8(image).permute(1, 2, 0).contiguous().numpy()


def to_frames(video: Tensor) -> np.ndarray:
    """Frames of a decoded video, truncated to whole numbers as the official mp4 path does.

    Args:
        video: (3, T, H, W) float, clamped to [-1, 1] here.

    Returns:
        (T, H, W, 3) uint8.
    """
    return _channels_last(_scaled(video))


def to_image(video: Tensor) -> np.ndarray:
    """The first frame of a (3, T, H, W) video as (H, W, 3) uint8; rounds as the official PNG."""
    return _channels_last(_scaled(video[:, :1]) + 0.5)[0]


def _scaled(video: Tensor) -> Tensor:
    return (video.float().clamp(-1, 1) + 1) / 2 * 255


def _channels_last(scaled: Tensor) -> np.ndarray:
    return scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
