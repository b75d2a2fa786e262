"""Decoded video to bytes, rounded as the official code does it."""

import numpy as np
import torch
from torch import Tensor


def to_frames(video: Tensor) -> np.ndarray:
    """Frames of a video: cut off to whole numbers, as the official mp4 path does.

    Args:
        video: (3, T, H, W) float, clamped to [-1, 1] here.

    Returns:
        (T, H, W, 3) uint8.
    """
    return _bytes(_scaled(video))


def to_picture(video: Tensor) -> np.ndarray:
    """The first frame of a (3, T, H, W) video: rounded, as the official png path does."""
    return _bytes(_scaled(video[:, :1]) + 0.5)[0]


def _scaled(video: Tensor) -> Tensor:
    return (video.float().clamp(-1, 1) + 1) / 2 * 255


def _bytes(scaled: Tensor) -> np.ndarray:
    return scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
