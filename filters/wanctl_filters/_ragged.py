"""Columns of lists and of labels, without a Python loop over the rows."""

import numpy as np

from wanctl.curate.api import Ragged


def medians(column: Ragged) -> np.ndarray:
    """(N,) median of each row, float64; NaN where it is empty."""
    result = np.full(len(column.starts) - 1, np.nan)
    for count, rows, values in equal_lengths(column):
        values = np.sort(values, axis=1)
        result[rows] = (values[:, (count - 1) // 2] + values[:, count // 2]) / 2
    return result


def equal_lengths(column: Ragged) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Rows of one length as a matrix: (length, (K,) row numbers, (K, length) values).

    Filters sample a fixed number of frames, so that nearly all rows share one length.
    Empty rows are left out.
    """
    counts = column.counts()
    found = []
    for count in np.unique(counts[counts > 0]).tolist():
        rows = np.flatnonzero(counts == count)
        cells = column.starts[rows][:, None] + np.arange(count)
        found.append((count, rows, column.values[cells].astype(np.float64)))
    return found


def labels(count: int, **masks: np.ndarray) -> np.ndarray:
    """(count,) object: the name of the first mask that is true in a row, else None."""
    result = np.full(count, None, dtype=object)
    for name, mask in reversed(masks.items()):
        result[mask] = name
    return result
