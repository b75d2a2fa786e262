"""Funnel counts: clips that each filter drops, also with its bounds moved by one step.

Counts of slices are added, so that a data set of any size is counted slice by slice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

STEP = 0.1
"""Share of a bound by which one step moves it."""

_SIDES = 4
_MOVES = 8


@dataclass(frozen=True)
class Step:
    """Clips that a filter would drop if one of its bounds were moved by one step.

    Attributes:
        bound: current bound.
        moved: moved bound.
        drops: clips that the filter would drop on its own.
        alone: clips that only it would drop.
    """

    bound: float
    moved: float
    drops: int
    alone: int


@dataclass(frozen=True)
class FunnelRow:
    """Counts of one filter over the data set.

    Attributes:
        name: name of the filter.
        left: clips that it and all filters before it keep.
        drops: clips that it would drop on its own.
        alone: clips that only it drops.
        steps: for each of its bounds, a step down and a step up.
        restores: clips that are kept again here, as people keep what filters drop.
    """

    name: str
    left: int
    drops: int
    alone: int
    steps: tuple[Step, ...] = ()
    restores: int = 0

    def at_strictest(self) -> int:
        """Clips it would drop on its own with every bound moved one step to the strict side."""
        return self.drops + sum(max(0, step.drops - self.drops) for step in self.steps)

    def at_laxest(self) -> int:
        """Clips it would drop on its own with every bound moved one step to the lax side."""
        return self.drops + sum(min(0, step.drops - self.drops) for step in self.steps)


@dataclass(frozen=True)
class FunnelCounts:
    """Counts over some clips; `+` gives the counts over both sets.

    Attributes:
        names: names of the filters, in order.
        bounds: (filter, bound) for every finite bound.
        total: number of clips.
        kept: clips that no filter drops or that people keep.
        restored: clips that filters drop and people keep; the last row counts them as left.
        filters: (F, 3) left, drops, alone.
        sides: (B, 4) below the bound: dropped by its filter, kept; from it on: dropped, kept.
        moves: (B, 2, 4) between the bound and the bound moved one step down or up: dropped by the
            filter, by it alone; kept by it, by all.
    """

    names: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    total: int
    kept: int
    restored: int
    filters: np.ndarray
    sides: np.ndarray
    moves: np.ndarray

    def __add__(self, other: "FunnelCounts") -> "FunnelCounts":
        return FunnelCounts(
            self.names,
            self.bounds,
            self.total + other.total,
            self.kept + other.kept,
            self.restored + other.restored,
            self.filters + other.filters,
            self.sides + other.sides,
            self.moves + other.moves,
        )

    def rows(self) -> list[FunnelRow]:
        """The rows of the funnel, one per filter."""
        rows = [
            FunnelRow(name, *(int(n) for n in counts), steps=self._steps(name, *counts[1:]))
            for name, counts in zip(self.names, self.filters, strict=True)
        ]
        if self.restored:
            last = rows[-1]
            rows[-1] = replace(last, left=last.left + self.restored, restores=self.restored)
        return rows

    def _steps(self, name: str, drops: int, alone: int) -> tuple[Step, ...]:
        steps = []
        for index, (owner, bound) in enumerate(self.bounds):
            if owner != name:
                continue
            for moved, counts in zip(moved_bounds(bound), self.moves[index], strict=True):
                # clips between both bounds change sides: added if they move to the dropped side
                if (moved > bound) == _drops_below(self.sides[index]):
                    more = (drops + int(counts[2]), alone + int(counts[3]))
                else:
                    more = (drops - int(counts[0]), alone - int(counts[1]))
                steps.append(Step(bound, moved, int(more[0]), int(more[1])))
        return tuple(steps)


def moved_bounds(bound: float) -> tuple[float, float]:
    """A bound moved one step down and one step up."""
    width = STEP * abs(bound) or STEP
    return bound - width, bound + width


def count_funnel(
    keeps: Mapping[str, np.ndarray],
    scores: Mapping[str, np.ndarray | None],
    bounds: Mapping[str, Sequence[float]],
    by_person: np.ndarray | None = None,
) -> FunnelCounts:
    """Count some clips.

    Args:
        keeps: filter -> (N,) bool, in the recipe's order; last what people drop.
        scores: filter -> (N,) its scores, NaN where there is none.
        bounds: filter -> scores at which its verdict changes.
        by_person: (N,) bool, clips that people keep whatever the filters say.
    """
    # without filters only what people decided says how many clips there are
    total = len(next(iter(keeps.values()), () if by_person is None else by_person))
    against = np.zeros(total, dtype=np.int16)
    for keep in keeps.values():
        against += ~keep
    left = np.ones(total, dtype=bool)
    counts = []
    for keep in keeps.values():
        left &= keep
        drops = np.count_nonzero(~keep)
        counts.append((np.count_nonzero(left), drops, np.count_nonzero(~keep & (against == 1))))
    places = [
        (name, float(bound))
        for name in keeps
        for bound in bounds.get(name, ())
        if np.isfinite(bound) and scores.get(name) is not None
    ]
    restored = 0 if by_person is None else int(np.count_nonzero(by_person & (against > 0)))
    near = [_near(scores[name], keeps[name], against, bound) for name, bound in places]
    return FunnelCounts(
        tuple(keeps),
        tuple(places),
        total,
        int(np.count_nonzero(against == 0)) + restored,
        restored,
        np.array(counts, dtype=np.int64).reshape(-1, 3),
        np.array([sides for sides, _ in near], dtype=np.int64).reshape(-1, _SIDES),
        np.array([moves for _, moves in near], dtype=np.int64).reshape(-1, 2, _MOVES // 2),
    )


def _near(
    score: np.ndarray | None, keep: np.ndarray, against: np.ndarray, bound: float
) -> tuple[Sequence[Any], Sequence[Any]]:
    assert score is not None
    below, above = score < bound, score >= bound
    sides = [np.count_nonzero(side & what) for side in (below, above) for what in (~keep, keep)]
    moves = []
    for moved in moved_bounds(bound):
        low, high = min(bound, moved), max(bound, moved)
        between = (score >= low) & (score < high)
        moves.append(
            [
                np.count_nonzero(between & ~keep),
                np.count_nonzero(between & ~keep & (against == 1)),
                np.count_nonzero(between & keep),
                np.count_nonzero(between & keep & (against == 0)),
            ]
        )
    return sides, moves


def _drops_below(sides: np.ndarray) -> bool:
    """Whether a filter drops the scores below a bound rather than those above it."""
    dropped_low, kept_low, dropped_high, kept_high = sides.tolist()
    if dropped_low == dropped_high == 0:
        return kept_low < kept_high
    # compares shares without a division, as a side may be empty
    return dropped_low * (dropped_high + kept_high) > dropped_high * (dropped_low + kept_low)
