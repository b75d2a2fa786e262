"""Selects clips from evidence, with crop, weight and bucket. Decodes nothing.

The data set is decided slice by slice, in several processes where it is large. Some steps need
all slices: a filter of scope `set`, a threshold that is a percentile, and balancing. Before such a
step the verdicts on all slices are spilled to disk.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import pyarrow as pa

from wanctl.atomic import scratch
from wanctl.curate.quantiles import percentile_values, quantiles_of, scores_of
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.balance import Balance, balance_factors
from wanctl.curate.select.decisions import (
    Decisions,
    intersect,
    shortest_of,
    slice_verdicts,
    whole_views,
)
from wanctl.curate.select.evidence import (
    StoredEvidence,
    check_evidence,
    check_sources,
    concat_evidence,
    measure_failures,
    missing_parts,
    read_evidence,
)
from wanctl.curate.select.funnel import FunnelCounts, FunnelRow, count_funnel
from wanctl.curate.select.overrides import (
    OVERRIDE,
    Override,
    warn_of_unknown,
)
from wanctl.curate.select.passes import (
    BuildSelection,
    FilterStage,
    Map,
    SpillVerdicts,
    SumLabelWeights,
    pool,
)
from wanctl.curate.select.selection_rows import CROP, SelectionRows, SelectRules
from wanctl.curate.select.slices import Slice, slices_of
from wanctl.curate.select.verdict_store import StoredVerdicts, VerdictStore
from wanctl.data.dataset import DatasetDir
from wanctl.data.description import CLEAN
from wanctl.log import log

__all__ = [
    "SelectRules",
    "SelectionResult",
    "filters_with_evidence",
    "resolve_percentiles",
    "select",
]


@dataclass(frozen=True)
class SelectionResult:
    """Result of `select`.

    Attributes:
        total: number of clips.
        kept: number of kept clips.
        funnel: counts of each filter in the recipe's order, and of crops.
        filters: the filters with percentiles replaced by numbers.
        copies: number of clips that were skipped as copies of others.
    """

    total: int
    kept: int
    funnel: list[FunnelRow]
    filters: list[NamedFilter]
    copies: int


def filters_with_evidence(dataset: DatasetDir, filters: Sequence[NamedFilter]) -> list[NamedFilter]:
    """All filters except optional ones that have not measured this data set.

    Deciding needs no model, so a data set that was measured on one machine can be decided on
    another one where a filter cannot run.
    """
    ready = []
    for named in filters:
        if named.filter.optional and missing_parts(dataset, named):
            log.warning("filter %s is skipped: it is optional and has no evidence", named.name)
        else:
            ready.append(named)
    return ready


def resolve_percentiles(filters: Sequence[NamedFilter], selection: pa.Table) -> list[NamedFilter]:
    """The filters with percentiles replaced by the numbers that a selection was made with."""
    return [
        _with(named, percentile_values(named.filter, scores_of(selection, named.name)))
        if quantiles_of(named.filter)
        else named
        for named in filters
    ]


def select(
    dataset: DatasetDir,
    filters: Sequence[NamedFilter],
    rules: SelectRules,
    name: str,
    balance: Balance | None = None,
) -> SelectionResult:
    """Decide every clip and write `selections/NAME`.

    Args:
        dataset: the data set.
        filters: in the order of the recipe.
        rules: settings of the selection besides filters.
        name: name of the selection.
        balance: balances the weights of kept clips by the labels of one of `filters`.

    Raises:
        UserError: some clip was never measured with a filter's current settings.
    """
    check_sources(dataset)
    for named in filters:
        check_evidence(dataset, named)
    slices = slices_of(dataset)
    target = dataset.path / "selections" / name
    with scratch(target) as folder, pool(slices) as over:
        # workers only read tables; the list of sources may be long, so it is not sent to them
        reader = DatasetDir(dataset.path, {"sources": [], "recipe": "", CLEAN: True})
        selector = _Selector(
            FilterStage(
                reader, measure_failures(dataset), VerdictStore(folder), (), (), tuple(filters)
            ),
            slices,
            over,
        )
        for place, named in enumerate(filters):
            selector.add(named, filters[place + 1 :])
        weights = selector.weights(rules, balance) if balance else None
        finish = BuildSelection(selector.stage, rules, selector.bounds(), weights)
        tables = _Results(over(finish, slices), rules.overrides)
        dataset.write_selection(name, tables)
    tables.warn()
    none = {each: np.zeros(0, dtype=bool) for each in (*(f.name for f in selector.filters), CROP)}
    counts = tables.counts or count_funnel(none, {}, {})
    copies = sum(part_slice.copies for part_slice in slices)
    return SelectionResult(counts.total, counts.kept, counts.rows(), selector.filters, copies)


class _Selector:
    """Collects filters into stages; a filter that needs all clips ends the stage before it."""

    def __init__(self, stage: FilterStage, slices: list[Slice], over: Map[Any]) -> None:
        self.stage = stage
        self.filters: list[NamedFilter] = []
        self._slices = slices
        self._over = over
        self._scores: dict[str, np.ndarray] = {}

    def add(self, named: NamedFilter, later: Sequence[NamedFilter]) -> None:
        """Add a filter to the current stage, or decide it at once if it needs all clips.

        Args:
            named: the filter.
            later: the filters after it.
        """
        if named.filter.scope == "set":
            self._spill()
            named = self._decide_set_filter(named)
            self.stage = replace(self.stage, before=(*self.stage.before, named.name))
        else:
            if quantiles_of(named.filter):
                if named.name not in self._scores:
                    self._spill_and_score([named, *later])
                named = self._resolved(named, self._scores.pop(named.name))
            self.stage = replace(self.stage, filters=(*self.stage.filters, named))
        self.filters.append(named)
        known = [named if each.name == named.name else each for each in self.stage.recipe]
        self.stage = replace(self.stage, recipe=tuple(known))

    def weights(
        self, rules: SelectRules, balance: Balance
    ) -> tuple[str, Mapping[str | None, float]]:
        """Balance factors of the weights: (filter, label -> factor)."""
        sums: dict[str | None, float] = {}
        for part in self._over(SumLabelWeights(self.stage, rules, balance.by), self._slices):
            for label, weight in part.items():
                sums[label] = sums.get(label, 0.0) + weight
        self._advance_stage()
        return balance.by, balance_factors(balance, sums)

    def bounds(self) -> dict[str, tuple[float, ...]]:
        """Filter -> scores at which its verdict changes."""
        return {named.name: named.filter.bounds() for named in self.filters}

    def _spill(self) -> None:
        """Decide the current stage on all slices and spill its verdicts."""
        if self.stage.filters:
            for _ in self._over(SpillVerdicts(self.stage), self._slices):
                pass
            self._advance_stage()

    def _spill_and_score(self, later: Sequence[NamedFilter]) -> None:
        """Spill the current stage, and score later filters up to the next one of scope `set`."""
        slicewise = list(takewhile(lambda named: named.filter.scope != "set", later))
        while not quantiles_of(slicewise[-1].filter):
            slicewise.pop()
        slice_scores = list(self._over(SpillVerdicts(self.stage, tuple(slicewise)), self._slices))
        self._advance_stage()
        for named in slicewise:
            scores = [each[named.name] for each in slice_scores if named.name in each]
            self._scores[named.name] = np.concatenate([np.zeros(0), *scores])

    def _advance_stage(self) -> None:
        names = [named.name for named in self.stage.filters]
        self.stage = replace(self.stage, before=(*self.stage.before, *names), filters=())

    def _decide_set_filter(self, named: NamedFilter) -> NamedFilter:
        if not self._slices:
            return named
        stage, numbers = self.stage, [part_slice.number for part_slice in self._slices]
        clips = [part_slice.clips(stage.dataset) for part_slice in self._slices]
        views = [self._views(*each) for each in zip(numbers, clips, strict=True)]
        decisions = Decisions(
            pa.concat_tables(clips).unify_dictionaries(),
            np.concatenate(views),
            StoredVerdicts(stage.store, numbers, stage.before),
            shortest_of(stage.recipe),
        )
        stored = self._evidence_of_set(named, clips)
        if quantiles_of(named.filter):
            scores = decisions.decide(named, stored, stage.failures, with_reasons=False).score
            named = self._resolved(named, np.zeros(0) if scores is None else scores)
        verdicts = decisions.decide(named, stored, stage.failures)
        start = 0
        for number, table in zip(numbers, clips, strict=True):
            stage.store.put(
                number, named.name, slice_verdicts(verdicts, start, start + table.num_rows)
            )
            start += table.num_rows
        return named

    def _evidence_of_set(self, named: NamedFilter, clips: Sequence[pa.Table]) -> StoredEvidence:
        dataset, recipe = self.stage.dataset, self.stage.recipe
        pieces = (
            (table.num_rows, read_evidence(dataset, named, table["id"], part_slice.names, recipe))
            for part_slice, table in zip(self._slices, clips, strict=True)
        )
        return concat_evidence(pieces, self.stage.store.folder / f"{named.name}.vectors")

    def _views(self, number: int, clips: pa.Table) -> np.ndarray:
        views = whole_views(clips)
        for name in self.stage.before:
            crops = self.stage.store.crops(number, name)
            views = views if crops is None else intersect(views, crops)
        return views

    def _resolved(self, named: NamedFilter, scores: np.ndarray) -> NamedFilter:
        numbers = percentile_values(named.filter, scores)
        for field, quantile in quantiles_of(named.filter).items():
            if field in numbers:
                log.info("%s.%s: %s is %.6g", named.name, field, quantile, numbers[field])
            else:
                log.warning("%s.%s: %s of no scores drops nothing", named.name, field, quantile)
        return _with(named, numbers)


class _Results:
    """Iterates over the tables of the slices and adds up their counts."""

    def __init__(
        self,
        results: Iterable[tuple[SelectionRows, FunnelCounts]],
        overrides: Mapping[str, Override],
    ) -> None:
        self._results = results
        self._overrides = overrides
        self._overridden = 0
        self._unfit = 0
        self._why_unfit = ""
        self._trimmed = 0
        self.counts: FunnelCounts | None = None

    def __iter__(self) -> Iterator[pa.Table]:
        for chosen, counts in self._results:
            self.counts = counts if self.counts is None else self.counts + counts
            self._unfit += chosen.unfit
            self._overridden += len(chosen.table) - chosen.table[OVERRIDE].null_count
            self._why_unfit = self._why_unfit or chosen.why_unfit
            self._trimmed += chosen.trimmed
            yield chosen.table

    def warn(self) -> None:
        """Log what the funnel does not show, such as kept clips that no bucket can use."""
        warn_of_unknown(self._overrides, self._overridden)
        if self.counts and self.counts.restored:
            log.info("%d clips that filters drop are kept by people", self.counts.restored)
        if self._trimmed:
            log.info("%d kept clips are trimmed in time", self._trimmed)
        if self._unfit:
            log.warning(
                "%d kept clips serve no bucket of train_dit; the first: %s",
                self._unfit,
                self._why_unfit,
            )


def _with(named: NamedFilter, numbers: Mapping[str, float]) -> NamedFilter:
    return NamedFilter(named.name, named.filter.model_copy(update=dict(numbers)))
