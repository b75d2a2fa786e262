"""Plücker rays of a camera path, packed as the Fun Camera models read them.

Shapes: F frames, T latent frames, H/W pixels.
"""

import numpy as np

from wanctl.camera.paths import CameraPath
from wanctl.model.shapes import TEMPORAL_STRIDE

RAY_CHANNELS = 6


def plucker_rays(path: CameraPath, height: int, width: int) -> np.ndarray:
    """(6, F, H, W) fp32: o x d, then d, of the ray through the centre of every pixel.

    o is the camera's place and d the ray's unit direction, both seen from the first pose (Wan
    report 5.5). Where the video has another aspect ratio than the path's pictures, it is taken as
    a crop of them that keeps one side.
    """
    lenses = fitted_lenses(path, height, width) * [width, height, width, height]
    across, down = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    rays = np.empty((RAY_CHANNELS, len(path), height, width), np.float32)
    # one frame and one channel at a time: in one product per step it takes 20 times the memory
    for frame, (pose, (fx, fy, cx, cy)) in enumerate(
        zip(path.relative().poses, lenses, strict=True)
    ):
        x, y = (across - cx) / fx, (down - cy) / fy
        length = np.sqrt(x**2 + y**2 + 1)
        d = [(row[0] * x + row[1] * y + row[2]) / length for row in pose[:3, :3]]
        o = pose[:3, 3]
        for axis in range(3):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            rays[axis, frame] = o[a] * d[b] - o[b] * d[a]
            rays[3 + axis, frame] = d[axis]
    return rays


def fitted_lenses(path: CameraPath, height: int, width: int) -> np.ndarray:
    """(F, 4) the lenses for a crop of the path's pictures to another aspect ratio."""
    aspect = width / height
    lenses = path.lenses.copy()
    if path.aspect > aspect:
        lenses[:, 0] *= path.aspect / aspect
    else:
        lenses[:, 1] *= aspect / path.aspect
    return lenses


def packed_rays(rays: np.ndarray) -> np.ndarray:
    """(24, T, H, W) of (6, F, H, W): four frames side by side as channels, the first one repeated.

    Channel 4c + k is channel c of the k-th frame of a latent frame.
    """
    channels, _, height, width = rays.shape
    first = np.repeat(rays[:, :1], TEMPORAL_STRIDE, axis=1)
    grouped = np.concatenate((first, rays[:, 1:]), axis=1)
    grouped = grouped.reshape(channels, -1, TEMPORAL_STRIDE, height, width)
    return grouped.swapaxes(1, 2).reshape(channels * TEMPORAL_STRIDE, -1, height, width)
