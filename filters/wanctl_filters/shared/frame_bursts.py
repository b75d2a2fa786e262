"""Bursts of neighbouring pictures: where they part, and which pictures repeat one another."""

from itertools import pairwise

import numpy as np

# A repeat that was compressed again differs a little; by how much depends on what moves.
_SAME_LEVELS, _SAME_SHARE = 0.5, 0.15
_BLOCK = 8


def split_bursts(times_s: np.ndarray, gap_s: float) -> list[np.ndarray]:
    """Indices of the pictures of each burst; single pictures make none.

    Args:
        times_s: (N,) rising.
        gap_s: the distance that was asked for; footage of fewer pictures per second has more.
    """
    gaps = np.diff(times_s)
    if not len(gaps):
        return []
    usual = max(gap_s, float(np.quantile(gaps, 0.25)))
    edges = np.flatnonzero(gaps > 2.5 * usual) + 1
    return [part for part in np.split(np.arange(len(times_s)), edges) if len(part) > 1]


def distinct(frames: np.ndarray, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of a burst that are new, and their times.

    Footage that was brought from 24 to 30 or 60 pictures a second repeats some. Left in, they
    would make a steady camera stutter; without them, the others are evenly spaced.

    Args:
        frames: (N, H, W) uint8 of one burst.
        times_s: (N,).

    Returns:
        Indices of the first picture and of all that differ from the one kept before; times.
    """
    change = np.array([_change(*pair) for pair in pairwise(frames)])
    # next to the largest change: that may be a cut, beside which all else looks the same
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

    apart = cv2.absdiff(first, second).astype(np.float32)
    size = (max(1, apart.shape[1] // _BLOCK), max(1, apart.shape[0] // _BLOCK))
    return float(cv2.resize(apart, size, interpolation=cv2.INTER_AREA).max())
