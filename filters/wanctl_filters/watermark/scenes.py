"""What a clip looks like in a few numbers: tells whether two clips show the same scene."""

from collections.abc import Sequence

import numpy as np

COARSE = 8  # cells of the grid per square of the map of movement
_THUMB = 8  # squares of the thumbnail, along each side
_MOVES = 5.0  # levels of robust standard deviation over time
_QUANTILES = 1.683  # from the 20th to the 80th percentile of a normal distribution, in deviations
_OTHER_SCENE = 0.4  # share of the thumbnail that differs; takes of one scene have less
_ENOUGH_SCENES = 16  # more hardly change the result


def thumbnail(reds: np.ndarray) -> np.ndarray:
    """(8,) int64, the bytes of an 8 by 8 picture: the middle one of (N, H, W) uint8 planes."""
    import cv2

    middle = cv2.resize(reds[len(reds) // 2], (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    return middle.ravel().view(np.int64)


def moving_share(reds: np.ndarray) -> float:
    """Share of the frame that changes over (N, H, W) uint8 planes, 0..1."""
    ordered = np.sort(coarse_levels(reds).reshape(len(reds), -1).T, axis=1).astype(np.float32)
    low, high = (ordered[:, round(share * (len(reds) - 1))] for share in (0.2, 0.8))
    return round(float((high - low >= _MOVES * _QUANTILES).mean()), 4)


def coarse_levels(planes: np.ndarray) -> np.ndarray:
    """(N, h, w) uint8 means of the squares of `COARSE` cells in (N, H, W) uint8 planes.

    What is left over at the right and at the bottom does not count: squares of whole cells are
    averaged ten times as fast.
    """
    import cv2

    _, height, width = planes.shape
    size = (max(1, width // COARSE), max(1, height // COARSE))
    parts = planes[:, : COARSE * size[1], : COARSE * size[0]]
    return np.stack([cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts])


def scenes_of(thumbs: np.ndarray, moving: Sequence[float], min_change: float) -> list[int]:
    """The clip with most motion of each scene, as its place, in descending order of motion.

    Clips of one camera position share static objects, so that more of them add no evidence.

    Args:
        thumbs: (N, 64) uint8 thumbnails.
        moving: `moving_share` of each.
        min_change: levels by which thumbnails differ, twice.
    """
    kept: list[int] = []
    levels = thumbs.astype(np.int16)
    for place in sorted(range(len(levels)), key=lambda each: -moving[each]):
        if len(kept) == _ENOUGH_SCENES:
            break
        steps = np.abs(levels[kept] - levels[place]) >= 2 * min_change
        if (steps.mean(axis=1) > _OTHER_SCENE).all():
            kept.append(place)
    return kept
