"""The value on which most clips of a source agree, for many sources at once."""

import numpy as np

_BASE = 2**20  # above any width or height in pixels


def consensus(
    groups: np.ndarray,
    values: np.ndarray,
    voting: np.ndarray,
    *,
    slack: float,
    share: float,
) -> np.ndarray:
    """(N,) the value on which a share of each group's voters agrees; 0 where there is none.

    Args:
        groups: (N,) numbers from 0 up.
        values: (N,) int64 below 2**20, the value of each row; 0 for none.
        voting: (N,) bool, the rows that count, with a value or without.
        slack: values this far from the median of those above 0 agree.
        share: share of the voters that have to agree.
    """
    valued = voting & (values > 0)
    if not valued.any():
        return np.zeros_like(values)
    count = int(groups.max()) + 1
    num_values = np.bincount(groups[valued], minlength=count)
    # one number sorts by group and then by value
    ordered = np.sort(groups[valued] * _BASE + values[valued])
    middle = np.cumsum(num_values) - num_values + (num_values - 1) // 2
    some = num_values > 0
    median = np.zeros(count, dtype=np.int64)
    median[some] = ordered[middle[some]] % _BASE
    close = valued & (np.abs(values - median[groups]) <= slack)
    votes = np.bincount(groups[voting], minlength=count)
    agreeing = np.bincount(groups[close], minlength=count)
    return np.where(some & (agreeing >= share * votes), median, 0)[groups]
