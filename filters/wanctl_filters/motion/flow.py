"""Dense flow between neighbouring pictures, averaged over blocks."""

from functools import lru_cache
from typing import Any

import numpy as np

from wanctl_filters.motion.camera_path import Points

_LEAST_PX = 32


def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32 displacement in pixels from (H, W) uint8 to (H, W) uint8."""
    height, width = first.shape
    return _finder().calc(_padded(first), _padded(second), None)[:height, :width]


def _padded(picture: np.ndarray) -> np.ndarray:
    """The picture, made at least `_LEAST_PX` on each side: OpenCV crashes below 16."""
    import cv2

    height, width = picture.shape
    below, right = max(0, _LEAST_PX - height), max(0, _LEAST_PX - width)
    if not below and not right:
        return picture
    return cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)


def at_points(field: np.ndarray, points: Points) -> np.ndarray:
    """(P, 2) displacement of blocks, as shares of the long side."""
    import cv2

    rows, columns = points.shape
    mean = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_AREA)
    return mean.reshape(-1, 2) / max(field.shape[:2])


def lost(forward: np.ndarray, backward: np.ndarray, points: Points) -> np.ndarray:
    """(P,) share of a block whose pixels do not come back to where they started.

    They are covered or uncovered, or move in ways that nothing can follow.
    """
    import cv2

    height, width = forward.shape[:2]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    back = cv2.remap(
        backward,
        xs + forward[..., 0],
        ys + forward[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    off = np.hypot(forward[..., 0] + back[..., 0], forward[..., 1] + back[..., 1])
    allowed = 0.75 + 0.25 * np.hypot(forward[..., 0], forward[..., 1])
    rows, columns = points.shape
    gone = (off > allowed).astype(np.float32)
    return cv2.resize(gone, (columns, rows), interpolation=cv2.INTER_AREA).ravel()


@lru_cache(maxsize=1)
def _finder() -> Any:
    import cv2

    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    # at half size, where the preset stops at a quarter: the figures of a crowd are that small
    finder.setFinestScale(1)
    return finder
