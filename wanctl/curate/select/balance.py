"""Sampling weights that balance the groups which a filter assigns clips to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from wanctl.curate.columns import Verdicts
from wanctl.log import log


@dataclass(frozen=True)
class Balance:
    """How often training draws each group.

    Attributes:
        by: the filter whose labels are the groups.
        shares: label -> its share of all draws; the other groups share the rest in
            proportion to their size.
        power: without `shares`, a group is drawn in proportion to its size to this power:
            0.5 is the square root, 0 draws all groups equally often, 1 changes nothing.
    """

    by: str
    shares: Mapping[str, float]
    power: float


def label_weights(
    label: np.ndarray | None, kept: np.ndarray, weight: np.ndarray
) -> dict[str | None, float]:
    """Label -> total weight of the kept clips; None: clips without a label."""
    if label is None:
        return {None: float(weight[kept].sum())}
    coded = pa.array(label[kept], pa.string(), from_pandas=True).dictionary_encode()
    codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy()
    sums = np.bincount(codes, weight[kept], len(coded.dictionary) + 1)
    names = [*coded.dictionary.to_pylist(), None]
    return {name: float(total) for name, total in zip(names, sums, strict=True) if total}


def combined_weights(verdicts: Mapping[str, Verdicts], count: int) -> np.ndarray:
    """(N,) product of all filters' weights."""
    weight = np.ones(count)
    for each in verdicts.values():
        if each.weight is not None:
            weight *= each.weight
    return weight


def balance_factors(balance: Balance, sizes: Mapping[str | None, float]) -> dict[str | None, float]:
    """Label -> factor for the weights of its clips; the sum of all weights stays the same.

    Clips without a label keep their weight.

    Args:
        balance: the requested shares.
        sizes: label -> weight of its clips.
    """
    groups = {name: size for name, size in sizes.items() if name is not None and size > 0}
    total = sum(groups.values())
    if balance.shares:
        target = _shares(balance, groups)
    else:
        target = {name: size**balance.power for name, size in groups.items()}
    scale = total / sum(target.values()) if target and any(target.values()) else 0.0
    return {name: target[name] * scale / size for name, size in groups.items()}


def apply_factors(
    weight: np.ndarray, label: np.ndarray | None, by_label: Mapping[str | None, float]
) -> np.ndarray:
    """(N,) weights multiplied by the factors of their labels."""
    if label is None:
        return weight
    coded = pa.array(label, pa.string(), from_pandas=True).dictionary_encode()
    table = [by_label.get(name, 1.0) for name in coded.dictionary.to_pylist()]
    codes = coded.indices.fill_null(len(table)).to_numpy()
    return weight * np.array([*table, 1.0])[codes]


def _shares(balance: Balance, groups: Mapping[str, float]) -> dict[str, float]:
    absent = sorted(set(balance.shares) - set(groups))
    if absent:
        log.warning(
            "balance: no kept clip has the label %s of %s; their shares go to the others",
            ", ".join(absent),
            balance.by,
        )
    rest = {name: size for name, size in groups.items() if name not in balance.shares}
    free = max(0.0, 1 - sum(balance.shares.values()))
    others = {name: free * size / sum(rest.values()) for name, size in rest.items()}
    return {name: balance.shares[name] for name in groups if name in balance.shares} | others
