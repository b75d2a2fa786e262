"""Splits sampled frames into bursts of neighbours, and removes repeated frames of a burst."""

from typing import NamedTuple

import numpy as np

# A repeated frame that was compressed again differs a little, depending on the motion.
_SAME_LEVELS, _SAME_SHARE = 0.5, 0.15
_BLOCK = 8
_MAX_REPEATS = 6  # 5 real frames per second in 30


def split_bursts(times_s: np.ndarray, gap_s: float, burst: int) -> list[np.ndarray]:
    """Indices of the frames of each burst; single frames are no burst.

    Args:
        times_s: (N,) ascending.
        gap_s: the requested distance of neighbours; footage of a lower frame rate has more.
        burst: the requested number of frames; bursts that overlap are parted into such lengths.
    """
    gaps = np.diff(times_s)
    if not len(gaps):
        return []
    usual = max(gap_s, float(np.quantile(gaps, 0.25)))
    edges = np.flatnonzero(gaps > 2.5 * usual) + 1
    parts = np.split(np.arange(len(times_s)), edges)
    return [
        piece
        for part in parts
        for piece in np.array_split(part, max(1, round(len(part) / burst)))
        if len(piece) > 1
    ]


class Burst(NamedTuple):
    """The distinct frames of a burst.

    Attributes:
        frames: indices of the first frame and of all that differ from the one before.
        times_s: their times; evenly spaced where frames repeat at a lower frame rate.
        length_s: from the first frame of the burst to the last.
        change: (P,) mean difference of each block between distinct neighbours, in levels; the
            median over the burst.
    """

    frames: np.ndarray
    times_s: np.ndarray
    length_s: float
    change: np.ndarray


def distinct(frames: np.ndarray, times_s: np.ndarray, part: np.ndarray) -> Burst:
    """The burst without repeated frames.

    Footage that was converted from 24 to 30 or 60 frames per second repeats some. They would look
    like stutter of a steady camera; without them, the times are spaced evenly.

    Args:
        frames: (N, H, W) uint8.
        times_s: (N,).
        part: indices of the burst's frames.
    """
    own, times = frames[part], times_s[part]
    span = float(times[-1] - times[0])
    blocks = _changes(own)
    change = blocks.max(axis=1)
    # the third-largest change: the largest may be cuts, which would make all others look equal
    usual = np.sort(change)[-min(3, len(change))]
    new = change > max(_SAME_LEVELS, _SAME_SHARE * usual)
    chosen = np.concatenate([[0], 1 + np.flatnonzero(new)])
    if np.diff(chosen, append=len(own)).max() > _MAX_REPEATS:
        times = times[chosen]  # a picture that stands still for a while
    elif not new.all():
        times = times[0] + span / max(len(chosen) - 1, 1) * np.arange(len(chosen))
    usual_blocks = np.median(blocks[new] if new.any() else blocks, axis=0)
    return Burst(part[chosen], times, span, usual_blocks)


def _changes(frames: np.ndarray) -> np.ndarray:
    """(N - 1, P) mean difference of each block between neighbours, in levels."""
    import cv2

    count, height, width = frames.shape
    # one image of all frames below each other: a call for each takes twice the time
    long = np.ascontiguousarray(frames).reshape(count * height, width)
    difference = cv2.absdiff(long[:-height], long[height:]).astype(np.float32)
    rows, columns = max(1, height // _BLOCK), max(1, width // _BLOCK)
    size = (columns, rows * (count - 1))
    blocks = cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
    return blocks.reshape(count - 1, -1)
