"""Clips of one source: grouping them, and what most of them agree on."""

import numpy as np
import pyarrow as pa

from wanctl.curate.api import ClipBatch

_BASE = 2**20  # above any width or height in pixels


def sources(batch: ClipBatch) -> np.ndarray:
    """(N,) int64: the same number for clips of one source, from 0 up."""
    column = batch.clips["source"]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    return column.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)


def agreed(
    groups: np.ndarray,
    values: np.ndarray,
    voting: np.ndarray,
    *,
    slack: float,
    share: float,
) -> np.ndarray:
    """(N,) the value that a share of each group's voters agrees on; 0 where there is none.

    Args:
        groups: (N,) numbers from 0 up.
        values: (N,) int64 below 2**20, what each row says; 0 for nothing.
        voting: (N,) bool, rows that have a say, be it nothing.
        slack: values this far from the median of those above 0 agree.
        share: of the voters that have to agree.
    """
    saying = voting & (values > 0)
    if not saying.any():
        return np.zeros_like(values)
    count = int(groups.max()) + 1
    said = np.bincount(groups[saying], minlength=count)
    # one number sorts by group and then by value
    ordered = np.sort(groups[saying] * _BASE + values[saying])
    middle = np.cumsum(said) - said + (said - 1) // 2
    some = said > 0
    median = np.zeros(count, dtype=np.int64)
    median[some] = ordered[middle[some]] % _BASE
    close = saying & (np.abs(values - median[groups]) <= slack)
    votes = np.bincount(groups[voting], minlength=count)
    agreeing = np.bincount(groups[close], minlength=count)
    return np.where(some & (agreeing >= share * votes), median, 0)[groups]
