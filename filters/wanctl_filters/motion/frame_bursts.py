"""Splits sampled frames into bursts of neighbours, and removes repeated frames of a burst."""

from itertools import pairwise

import numpy as np

# A repeated frame that was compressed again differs a little, depending on the motion.
_SAME_LEVELS, _SAME_SHARE = 0.5, 0.15
_BLOCK = 8


def split_bursts(times_s: np.ndarray, gap_s: float) -> list[np.ndarray]:
    """Indices of the frames of each burst; single frames are no burst.

    Args:
        times_s: (N,) ascending.
        gap_s: the requested distance of neighbours; footage of a lower frame rate has more.
    """
    gaps = np.diff(times_s)
    if not len(gaps):
        return []
    usual = max(gap_s, float(np.quantile(gaps, 0.25)))
    edges = np.flatnonzero(gaps > 2.5 * usual) + 1
    return [part for part in np.split(np.arange(len(times_s)), edges) if len(part) > 1]


def distinct(frames: np.ndarray, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct frames of a burst, and their times.

    Footage that was converted from 24 to 30 or 60 frames per second repeats some. They would look
    like stutter of a steady camera; without them, the times are spaced evenly.

    Args:
        frames: (N, H, W) uint8 of one burst.
        times_s: (N,).

    Returns:
        Indices of the first frame and of all that differ from the previous distinct one; times.
    """
    change = np.array([_change(*pair) for pair in pairwise(frames)])
    # the second-largest change: the largest may be a cut, which would make all others look equal
    usual = np.sort(change)[-2] if len(change) > 1 else 0.0
    new = change > max(_SAME_LEVELS, _SAME_SHARE * usual)
    chosen = np.concatenate([[0], 1 + np.flatnonzero(new)])
    if new.all():
        return chosen, times_s
    span = times_s[-1] - times_s[0]
    return chosen, times_s[0] + span / max(len(chosen) - 1, 1) * np.arange(len(chosen))


def _change(first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of the block that differs most, in levels."""
    import cv2

    difference = cv2.absdiff(first, second).astype(np.float32)
    size = (max(1, difference.shape[1] // _BLOCK), max(1, difference.shape[0] // _BLOCK))
    return float(cv2.resize(difference, size, interpolation=cv2.INTER_AREA).max())
