"""Selects clips for post-training: a share by score, balanced over categories and motion."""

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from wanctl.curate.api import ClipBatch, Filter, UserError, Verdicts, threshold
from wanctl_filters.shared.survivors import survivors

REST = "other"


class Posttrain(Filter):
    """The top share by an earlier filter's score, balanced by quota.

    Places are divided among categories by `quotas`, equally where it is empty; places that a small
    category cannot fill go to the others in the same proportion. Within each category, places are
    divided in the same way between complex and simple motion. Clips that earlier filters drop are
    ignored. The numbers of each category are logged.
    """

    scope: ClassVar[Literal["clip", "source", "set"]] = "set"

    score: str = threshold(default="quality", description="earlier filter whose score ranks")
    top: float = threshold(
        default=0.2, gt=0, le=1, description="share of the remaining clips that is kept"
    )
    category: str | None = threshold(
        default="category", description="earlier filter whose label is balanced; null: none"
    )
    quotas: dict[str, float] = threshold(
        default={},
        description="category -> share; equal where empty, none for categories that are not named",
    )
    motion: str | None = threshold(
        default="motion", description="earlier filter whose label tells kinds of motion; null: none"
    )
    complex_motion: tuple[str, ...] = threshold(
        default=("optimal",), description="labels of `motion` that are complex; the rest is simple"
    )
    complex_share: float = threshold(
        default=0.5, ge=0, le=1, description="share of complex motion in each category"
    )

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Keep the best clips of every cell of the quota table."""
        score = self._column(batch, self.score, "score")
        candidates = survivors(batch) & ~np.isnan(score.astype(np.float64))
        score = score.astype(np.float64)
        categories = self._categories(batch)
        complex_ = self._complex(batch)
        budget = round(self.top * int(candidates.sum()))
        taken = np.zeros(len(batch), dtype=bool)
        names = batch.clip("id").astype(str)
        for name, places in self._by_category(categories[candidates], budget).items():
            members = candidates & (categories == name)
            kinds = (members & complex_, members & ~complex_)
            split = self._split(places, [int(kind.sum()) for kind in kinds])
            for kind, count in zip(kinds, split, strict=True):
                rows = np.flatnonzero(kind)
                taken[rows[np.lexsort((names[rows], -score[rows]))[:count]]] = True
            self._log_category(name, places, taken & members, complex_, int(members.sum()))
        return Verdicts.judge(
            score,
            (
                candidates & ~taken,
                lambda row: (
                    f"{self.score} {score[row]:.2f} is not among the best of {categories[row]}, "
                    f"{'complex' if complex_[row] else 'simple'} motion"
                ),
            ),
            label=np.where(taken, "chosen", np.array(None)),
        )

    def _by_category(self, present: np.ndarray, budget: int) -> dict[str, int]:
        names, counts = np.unique(present.astype(str), return_counts=True)
        supply = dict(zip(names.tolist(), counts.tolist(), strict=True))
        shares = {name: self.quotas.get(name, 0.0) if self.quotas else 1.0 for name in supply}
        places = fill(budget, list(shares.values()), list(supply.values()))
        for name in sorted(set(self.quotas) - set(supply)):
            logging.getLogger("wanctl").warning("posttrain: no clip of category %s", name)
        return dict(zip(supply, places, strict=True))

    def _split(self, places: int, supply: Sequence[int]) -> list[int]:
        if self.motion is None:
            return fill(places, [1.0, 1.0], supply)
        # a kind with a share of 0 still takes the places that the other cannot fill
        shares = [max(self.complex_share, 1e-9), max(1 - self.complex_share, 1e-9)]
        return fill(places, shares, supply)

    def _categories(self, batch: ClipBatch) -> np.ndarray:
        if self.category is None:
            return np.full(len(batch), REST, dtype=object)
        labels = self._column(batch, self.category, "label")
        return np.array([REST if label is None else label for label in labels], dtype=object)

    def _complex(self, batch: ClipBatch) -> np.ndarray:
        if self.motion is None:
            return np.zeros(len(batch), dtype=bool)
        labels = self._column(batch, self.motion, "label")
        return np.array([label in self.complex_motion for label in labels], dtype=bool)

    def _column(self, batch: ClipBatch, name: str, kind: Literal["score", "label"]) -> np.ndarray:
        verdicts: Mapping[str, Verdicts] = batch.verdicts
        if name not in verdicts:
            raise UserError(
                f"filter posttrain: wants the {kind} of {name!r}, which does not come before it; "
                f"before it are {', '.join(verdicts) or 'none'}"
            )
        column = getattr(verdicts[name], kind)
        if column is None:
            raise UserError(f"filter posttrain: {name!r} gives no {kind}; name another filter")
        return column

    def _log_category(
        self, name: str, places: int, taken: np.ndarray, complex_: np.ndarray, supply: int
    ) -> None:
        logging.getLogger("wanctl").info(
            "posttrain: %s: %d of %d clips kept (%d places; %d with complex motion)",
            name, int(taken.sum()), supply, places, int((taken & complex_).sum()),
        )  # fmt: skip


def fill(budget: int, shares: Sequence[float], supply: Sequence[int]) -> list[int]:
    """Water-filling: divide places by shares; places that one cannot fill go to the others.

    Places are rounded by largest remainder and never exceed the supply. Shares of 0 get nothing,
    so that the sum may be less than `budget`.
    """
    share, most = np.asarray(shares, dtype=np.float64), np.asarray(supply, dtype=np.int64)
    level = np.zeros(len(share))
    open_ = (share > 0) & (most > 0)
    left = float(budget)
    while left > 1e-9 and open_.any():
        # the rise at which the first open one is full, or the budget is used up
        rise = min(
            left / share[open_].sum(), ((most - level) / np.where(open_, share, 1))[open_].min()
        )
        level = np.where(open_, np.minimum(level + rise * share, most), level)
        left -= rise * share[open_].sum()
        open_ &= level < most - 1e-9
    places = np.floor(level + 1e-9).astype(np.int64)
    spare = min(budget, round(float(level.sum()))) - int(places.sum())
    order = np.argsort(-(level - places), kind="stable")
    for index in order[:spare]:
        places[index] += 1
    return places.tolist()
