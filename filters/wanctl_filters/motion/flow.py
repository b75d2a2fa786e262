"""Dense optical flow between neighbouring frames, averaged over blocks."""

from functools import lru_cache
from typing import Any

import numpy as np

from wanctl_filters.motion.camera_path import Points

_LEAST_PX = 32


def flow(first: np.ndarray, second: np.ndarray, *, coarse: bool = False) -> np.ndarray:
    """(H, W, 2) float32 displacement in pixels from (H, W) uint8 to (H, W) uint8.

    Args:
        first: the earlier frame.
        second: the later frame.
        coarse: with patches that overlap less, at 60 % of the time: enough for the camera.
    """
    height, width = first.shape
    estimator = _optical_flow(6 if coarse else 4)
    return estimator.calc(_padded(first), _padded(second), None)[:height, :width]


def _padded(frame: np.ndarray) -> np.ndarray:
    """The frame, padded to at least `_LEAST_PX` on each side: OpenCV crashes below 16."""
    import cv2

    height, width = frame.shape
    below, right = max(0, _LEAST_PX - height), max(0, _LEAST_PX - width)
    if not below and not right:
        return frame
    return cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)


def at_points(field: np.ndarray, points: Points) -> np.ndarray:
    """(P, 2) mean displacement of blocks, as shares of the long side."""
    import cv2

    rows, columns = points.shape
    mean = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_AREA)
    return mean.reshape(-1, 2) / max(field.shape[:2])


def inconsistent_share(forward: np.ndarray, backward: np.ndarray, points: Points) -> np.ndarray:
    """(P,) share of a block's pixels that fail the forward-backward check of optical flow.

    They are occluded or uncovered, or their motion cannot be estimated.
    """
    import cv2

    back = sampled_at(backward, forward)
    off = np.hypot(forward[..., 0] + back[..., 0], forward[..., 1] + back[..., 1])
    allowed = 0.75 + 0.25 * np.hypot(forward[..., 0], forward[..., 1])
    rows, columns = points.shape
    inconsistent = (off > allowed).astype(np.float32)
    return cv2.resize(inconsistent, (columns, rows), interpolation=cv2.INTER_AREA).ravel()


def sampled_at(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The (H, W) or (H, W, C) image at each pixel's place plus its (H, W, 2) displacement."""
    import cv2

    places = _pixels(*field.shape[:2]) + field
    both: Any = None  # the first map has both coordinates; the stubs want a second one
    return cv2.remap(image, places, both, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=8)
def _pixels(height: int, width: int) -> np.ndarray:
    """(height, width, 2) float32: x and y of each pixel."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return np.stack(np.meshgrid(x, y), axis=2)


@lru_cache(maxsize=2)
def _optical_flow(patch_stride: int) -> Any:
    import cv2

    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    # At half size instead of the preset's quarter, as people in crowds are small, and as patches
    # of 32 pixels spread the motion of a hand over the table behind it.
    estimator.setFinestScale(1)
    estimator.setPatchStride(patch_stride)
    return estimator
