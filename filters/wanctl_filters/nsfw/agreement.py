"""Agreement of neighbouring frames: a run of frames decides, not the worst one."""

import numpy as np

from wanctl.curate.api import Ragged
from wanctl_filters.shared.ragged import equal_lengths

RUN = 3  # neighbouring samples, of which two have to agree


def agreed(scores: np.ndarray, views: list[np.ndarray]) -> np.ndarray:
    """(M,) lowest score of a frame's views.

    Args:
        scores: (M,) of whole frames; NaN, for a frame that was left out, counts as 0.
        views: (M,) scores of other views; NaN for frames that have none.
    """
    lowest = np.nan_to_num(scores)
    # few frames have more than one view
    rows = np.flatnonzero(~np.isnan(views[0]))
    lowest[rows] = np.fmin.reduce([lowest[rows], *(view[rows] for view in views)])
    return lowest


def best_run(frames: Ragged) -> np.ndarray:
    """(N,) highest score that two of three neighbouring frames reach; NaN without frames.

    A clip of two frames needs both, a clip of one frame that one.

    Args:
        frames: scores of each clip's frames, in order of time.
    """
    result = np.full(len(frames.starts) - 1, np.nan)
    for count, rows, matrix in equal_lengths(frames):
        if count < RUN:
            result[rows] = matrix.min(axis=1)
            continue
        columns = np.ascontiguousarray(matrix.T)
        best = np.full(len(rows), -np.inf)
        for first, second, third in zip(columns, columns[1:], columns[2:], strict=False):
            median = np.minimum(np.maximum(first, second), third)
            np.maximum(best, np.maximum(np.minimum(first, second), median), out=best)
        result[rows] = best
    return result
