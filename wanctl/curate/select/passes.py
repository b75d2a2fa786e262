"""The passes over the slices of a data set that make a selection, in one or more processes."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from wanctl.curate.quantiles import quantiles_of
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.balance import label_weights
from wanctl.curate.select.decisions import Decisions
from wanctl.curate.select.evidence import Failures, read_evidence
from wanctl.curate.select.funnel import FunnelCounts, count_funnel
from wanctl.curate.select.selection_rows import (
    FinalVerdicts,
    SelectionRows,
    SelectRules,
    build_rows,
)
from wanctl.curate.select.slices import Slice
from wanctl.curate.select.verdict_store import VerdictStore
from wanctl.data.dataset import DatasetDir

# A process takes a second to start, the time in which about 100,000 clips are decided.
_ROWS_PER_PROCESS = 400_000

T = TypeVar("T")
Map = Callable[[Callable[[Slice], T], Iterable[Slice]], Iterator[T]]


@dataclass(frozen=True)
class FilterStage:
    """Consecutive filters that decide slice by slice.

    Attributes:
        dataset: the data set with the evidence.
        failures: why evidence is missing.
        store: verdicts of earlier stages.
        before: names of the filters of earlier stages, in order.
        filters: filters of this stage, in order.
        recipe: all filters of the recipe, as some read the evidence of others, or need to know how
            short a clip these keep; percentiles that are known are replaced by numbers.
    """

    dataset: DatasetDir
    failures: Failures
    store: VerdictStore
    before: tuple[str, ...]
    filters: tuple[NamedFilter, ...]
    recipe: tuple[NamedFilter, ...] = ()

    def decide(self, part_slice: Slice) -> Decisions:
        """Decide one slice."""
        decisions = Decisions.begin(part_slice.clips(self.dataset), self.recipe)
        for name in self.before:
            decisions.add(name, self.store.get(part_slice.number, name))
        return self.decide_filters(decisions, part_slice)

    def decide_filters(
        self, decisions: Decisions, part_slice: Slice, *, with_reasons: bool = True
    ) -> Decisions:
        """Let the filters of this stage decide; reasons are written out if `with_reasons`."""
        for named in self.filters:
            ids = decisions.clips["id"]
            stored = read_evidence(self.dataset, named, ids, part_slice.names, self.recipe)
            verdicts = decisions.decide(named, stored, self.failures, with_reasons=with_reasons)
            decisions.add(named.name, verdicts)
        return decisions


@dataclass(frozen=True)
class SpillVerdicts:
    """Decide a stage, spill its verdicts to disk, and compute scores of later filters.

    Attributes:
        stage: the filters that decide.
        ahead: filters that follow, some with percentiles as thresholds. Their verdicts are
            discarded: scores do not depend on thresholds, so one pass gives all of them.
    """

    stage: FilterStage
    ahead: tuple[NamedFilter, ...] = ()

    def __call__(self, part_slice: Slice) -> dict[str, np.ndarray]:
        """Process one slice; returns filter -> scores for filters with percentiles."""
        decisions = self.stage.decide(part_slice)
        for named in self.stage.filters:
            self.stage.store.put(part_slice.number, named.name, decisions.verdicts[named.name])
        later = replace(self.stage, filters=self.ahead).decide_filters(
            decisions, part_slice, with_reasons=False
        )
        names = [named.name for named in self.ahead if quantiles_of(named.filter)]
        scores = {name: later.verdicts[name].score for name in names}
        return {name: score for name, score in scores.items() if score is not None}


@dataclass(frozen=True)
class SumLabelWeights:
    """Decide a stage, and sum the weights of kept clips by the labels of one filter."""

    stage: FilterStage
    rules: SelectRules
    by: str

    def __call__(self, part_slice: Slice) -> dict[str | None, float]:
        """Process one slice; returns label -> sum of weights."""
        decisions = self.stage.decide(part_slice)
        for named in self.stage.filters:
            self.stage.store.put(part_slice.number, named.name, decisions.verdicts[named.name])
        final = FinalVerdicts.of(decisions, self.rules)
        return label_weights(final.by_filter[self.by].label, final.kept, final.weight)


@dataclass(frozen=True)
class BuildSelection:
    """Decide the last stage and build the rows of a selection."""

    stage: FilterStage
    rules: SelectRules
    bounds: Mapping[str, tuple[float, ...]]
    balance_factors: tuple[str, Mapping[str | None, float]] | None = None

    def __call__(self, part_slice: Slice) -> tuple[SelectionRows, FunnelCounts]:
        """Process one slice; returns its rows and its funnel counts."""
        decisions = self.stage.decide(part_slice)
        final = FinalVerdicts.of(decisions, self.rules)
        counts = count_funnel(
            {name: each.keep for name, each in final.by_filter.items()},
            {name: each.score for name, each in final.by_filter.items()},
            self.bounds,
            final.overrides.keep,
        )
        return build_rows(decisions, final, self.rules, self.balance_factors), counts


@contextmanager
def pool(slices: list[Slice]) -> Iterator[Map[Any]]:
    """A `map` over slices, in order, with a number of processes that suits their size."""
    rows = sum(part_slice.rows for part_slice in slices)
    count = min(os.cpu_count() or 1, len(slices), rows // _ROWS_PER_PROCESS)
    if count < 2:
        yield map
        return
    # threads share the interpreter lock; a fork would copy pyarrow's locks
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as executor:
        yield lambda task, pieces: _ahead(executor, task, pieces, count + 1)


def _ahead(
    executor: ProcessPoolExecutor, task: Callable[[Slice], T], pieces: Iterable[Slice], limit: int
) -> Iterator[T]:
    """Results in order, with a bounded number of pending tasks."""
    waiting: deque[Future[T]] = deque()
    for part_slice in pieces:
        waiting.append(executor.submit(task, part_slice))
        if len(waiting) > limit:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
