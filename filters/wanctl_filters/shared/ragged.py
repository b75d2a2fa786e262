"""Vectorised operations on ragged columns and labels, without a Python loop over the rows."""

import numpy as np

from wanctl.curate.api import Ragged

_FEW = 16


def medians(column: Ragged) -> np.ndarray:
    """(N,) median of each row, float64; NaN where it is empty."""
    result = np.full(len(column.starts) - 1, np.nan)
    for count, rows, values in equal_lengths(column):
        places = _sorted_columns(values)
        result[rows] = (places[(count - 1) // 2] + places[count // 2]) / 2
    return result


def _sorted_columns(values: np.ndarray) -> list[np.ndarray]:
    """The columns of (K, n) values after each row is sorted.

    Odd-even transposition sort on all rows at once: five times as fast as sorting row by row for
    the few frames of a clip.
    """
    count = values.shape[1]
    if count > _FEW:
        return list(np.sort(values, axis=1).T)
    columns = [np.ascontiguousarray(column) for column in values.T]
    for step in range(count):
        for left in range(step % 2, count - 1, 2):
            low, high = columns[left], columns[left + 1]
            columns[left], columns[left + 1] = np.minimum(low, high), np.maximum(low, high)
    return columns


def equal_lengths(column: Ragged) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Rows of one length as a matrix: (length, (K,) row numbers, (K, length) values).

    Filters sample a fixed number of frames, so that nearly all rows share one length.
    Empty rows are left out.
    """
    counts = column.counts()
    if len(counts) and counts[0] > 0 and (counts == counts[0]).all():
        cells = column.values[column.starts[0] : column.starts[-1]]
        matrix = cells.reshape(len(counts), counts[0]).astype(np.float64)
        return [(int(counts[0]), np.arange(len(counts)), matrix)]
    matrices = []
    for count in np.unique(counts[counts > 0]).tolist():
        rows = np.flatnonzero(counts == count)
        cells = column.starts[rows][:, None] + np.arange(count)
        matrices.append((count, rows, column.values[cells].astype(np.float64)))
    return matrices


def labels(count: int, **masks: np.ndarray) -> np.ndarray:
    """(count,) object array: the name of the first mask that is true in each row, else None."""
    result = np.full(count, None, dtype=object)
    for name, mask in reversed(masks.items()):
        result[mask] = name
    return result
