"""Agreement of neighbouring frames: a run of frames decides, not the worst one."""

import numpy as np

from wanctl.curate.api import Ragged

RUN = 3  # neighbouring samples, of which two have to agree


def agreed(views: list[np.ndarray]) -> np.ndarray:
    """(M,) lowest score of a frame's views; NaN entries do not count, and no view at all is 0."""
    lowest = np.minimum.reduce([np.where(np.isnan(view), np.inf, view) for view in views])
    return np.where(np.isinf(lowest), 0.0, lowest)


def best_run(frames: Ragged) -> np.ndarray:
    """(N,) highest score that two of three neighbouring frames reach; NaN without frames.

    A clip of two frames needs both, a clip of one frame that one.

    Args:
        frames: scores of each clip's frames, in order of time.
    """
    counts, values = frames.counts(), frames.values.astype(np.float64)
    result = np.full(len(counts), np.nan)
    if not len(values):
        return result
    short = (counts > 0) & (counts < RUN)
    result[short] = frames.min()[short]
    # medians of all windows of the flat column, then those that lie within one clip
    if len(values) < RUN:
        return result
    first, second, third = values[:-2], values[1:-1], values[2:]
    medians = np.maximum(np.minimum(first, second), np.minimum(np.maximum(first, second), third))
    clip_of = np.repeat(np.arange(len(counts)), counts)
    inside = clip_of[:-2] == clip_of[2:]
    best = np.full(len(counts), -np.inf)
    owners, medians = clip_of[:-2][inside], medians[inside]
    if len(owners):
        starts = np.flatnonzero(np.diff(owners, prepend=owners[0] - 1))
        best[owners[starts]] = np.maximum.reduceat(medians, starts)
    return np.where(counts >= RUN, best, result)
