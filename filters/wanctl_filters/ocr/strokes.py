"""The strokes of a text and the ground between them over time.

Overlaid text lies in front of everything: what moves shows between its strokes and never before
them. What moves in a scene passes before the text in it, and text printed on a surface keeps its
ground.
"""

import numpy as np

_INTACT, _GONE = 12.0, 40.0  # luma levels; coding changes strokes by up to 8, a hand by 50 and more
_MIN_PIXELS = 6  # of the strokes in one part of a text
_PARTS = 8
_ROOM = 0.15  # of the contrast, from the brightest or darkest level, that belongs to strokes


def gap_change(levels: np.ndarray) -> float:
    """Change over time of the ground between strokes, in luma levels.

    The upper quartile over its pixels of the standard deviation over time, as an outline keeps its
    level too.

    Args:
        levels: (N, h, w) uint8 of the text's rectangle in the samples that show it.
    """
    if len(levels) < 2:
        return 0.0
    strokes = _strokes(levels)
    ground = ~_grown(strokes)
    return float(np.percentile(levels.std(axis=0)[ground], 75)) if ground.any() else 0.0


def hidden_samples(levels: np.ndarray) -> int:
    """Number of samples in which a part of the strokes is covered for a while.

    The part's strokes are seen before and after, and another part is seen meanwhile, so that
    neither flashes nor text that is drawn letter by letter count.

    Args:
        levels: (N, h, w) uint8 of the text's rectangle in the samples that show it.
    """
    if len(levels) < 3:
        return 0
    middle = np.median(levels, axis=0)
    strokes = _strokes(levels)
    change = np.abs(levels - middle[None])
    along = 1 if levels.shape[2] >= levels.shape[1] else 0
    parts = []
    for own in np.array_split(np.arange(strokes.shape[along]), _PARTS):
        mask = np.take(strokes, own, axis=along)
        if mask.sum() >= _MIN_PIXELS:
            parts.append(np.median(np.take(change, own, axis=along + 1)[:, mask], axis=1))
    if len(parts) < 2:
        return 0
    changes = np.stack(parts, axis=1)
    intact = changes <= _INTACT
    before = np.logical_or.accumulate(intact, axis=0)
    after = np.logical_or.accumulate(intact[::-1], axis=0)[::-1]
    covered = (changes >= _GONE) & before & after
    return int((covered.any(axis=1) & intact.any(axis=1)).sum())


def _strokes(levels: np.ndarray) -> np.ndarray:
    """(h, w) bool: the brightest or the darkest pixels, whichever change less over time."""
    middle, spread = np.median(levels, axis=0), levels.std(axis=0)
    low, high = np.percentile(middle, (3, 97))
    room = _ROOM * (high - low)
    bright, dark = middle >= high - room, middle <= low + room
    return bright if np.median(spread[bright]) <= np.median(spread[dark]) else dark


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and the pixels next to it, which are mixed from both sides."""
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
