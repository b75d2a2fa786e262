"""Separates overlaid text from text in the scene.

Overlaid text is constant pixel for pixel while the frame behind it moves. Tracking boxes from
frame to frame does not show that: detectors join and split words differently in every frame, and
a sign drifts slowly under a panning camera.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from wanctl_filters.ocr.polygons import Polygon, bounds

_SAME = 0.6  # correlation of strokes; measured 0.8 to 1.0 for overlays, below 0.45 for scene text


def stillness(
    luma: np.ndarray, frames: Sequence[Sequence[Polygon]]
) -> tuple[list[float], list[float]]:
    """Measure whether text stands still, and how much the frame around it changes.

    Args:
        luma: (N, H, W) uint8.
        frames: the polygons of each frame, in pixels of `luma`.

    Returns:
        For all polygons, frame after frame: the share of the other frames with the same strokes in
        the same place (0 to 1), and the median luma change (0 to 255) around it.
    """
    import cv2

    floats = [frame.astype(np.float32) for frame in luma]
    edges = [
        cv2.magnitude(cv2.Sobel(f, cv2.CV_32F, 1, 0), cv2.Sobel(f, cv2.CV_32F, 0, 1))
        for f in floats
    ]
    steady, around = [], []
    for index, polygon in chain.from_iterable(
        ((index, polygon) for polygon in polygons) for index, polygons in enumerate(frames)
    ):
        inside, outside = _regions(polygon, luma.shape[1:])
        others = [other for other in range(len(luma)) if other != index]
        same = [_correlation(edges[index][inside], edges[other][inside]) for other in others]
        change = [float(np.abs(floats[index] - floats[other])[outside].mean()) for other in others]
        steady.append(round(float(np.mean(np.array(same) >= _SAME)), 4) if others else 0.0)
        around.append(round(float(np.median(change)), 2) if others else 0.0)
    return steady, around


def _regions(polygon: Polygon, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], np.ndarray]:
    """The polygon's rectangle, and a mask of the ring half a line wide around it."""
    height, width = shape
    box = bounds(polygon)
    left = min(max(0, int(box.left)), width - 1)
    top = min(max(0, int(box.top)), height - 1)
    right = min(max(left + 1, int(box.right) + 1), width)
    bottom = min(max(top + 1, int(box.bottom) + 1), height)
    pad = max(4, min(right - left, bottom - top) // 2)
    mask = np.zeros((height, width), dtype=bool)
    mask[max(0, top - pad) : bottom + pad, max(0, left - pad) : right + pad] = True
    mask[top:bottom, left:right] = False
    if not mask.any():
        mask[:] = True
    return (slice(top, bottom), slice(left, right)), mask


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / norm if norm > 0 else 0.0
