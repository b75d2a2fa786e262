"""Verdicts on labelled files, decided again in memory with any threshold."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from wanctl.curate.columns import ClipBatch, Verdict, Verdicts
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.decisions import Decisions
from wanctl.curate.select.evidence import StoredEvidence, measure_failures, read_evidence
from wanctl.data.dataset import DatasetDir

# One threshold at a time is moved by these factors.
FACTORS = (0.7, 0.85, 1.15, 1.4)


@dataclass(frozen=True)
class DecidedClip:
    """One clip of a file, with a filter's verdict on it."""

    row: dict[str, Any]
    verdict: Verdict


class DecidedFiles:
    """A curated folder of labelled files; every filter can decide again with other thresholds."""

    def __init__(self, dataset: DatasetDir, filters: Sequence[NamedFilter]) -> None:
        self.dataset = dataset
        self.filters = {named.name: named for named in filters}
        table = dataset.clips()
        self.clips: list[dict[str, Any]] = table.to_pylist()
        self.rows_of_file: dict[str, list[int]] = defaultdict(list)
        order = sorted(range(len(self.clips)), key=lambda row: self.clips[row]["start_pts"])
        for row in order:
            self.rows_of_file[Path(self.clips[row]["source"]).name].append(row)
        self._failures = measure_failures(dataset)
        self._stored: dict[str, StoredEvidence] = {}
        self._before: dict[str, Decisions] = {}
        self.verdicts: dict[str, Verdicts] = {}
        decisions = Decisions.begin(table, filters)
        for named in filters:
            stored = read_evidence(dataset, named, table["id"], recipe=filters)
            self._stored[named.name] = stored
            self._before[named.name] = replace(decisions)
            self.verdicts[named.name] = self.decide(named)
            decisions.add(named.name, self.verdicts[named.name])

    def decide(self, named: NamedFilter) -> Verdicts:
        """Verdicts of a filter of the recipe, whose thresholds may differ."""
        before = self._before[named.name]
        return before.decide(named, self._stored[named.name], self._failures)

    def batch(self, name: str) -> ClipBatch:
        """The batch that a filter decides on."""
        return self._before[name].batch(self._stored[name])

    def variants(self, name: str) -> list[NamedFilter]:
        """The filter as it is, and with single thresholds moved by FACTORS within their bounds."""
        own = self.filters[name]
        variants = [own]
        keys = set(type(own.filter).model_fields) - set(type(own.filter).measure_fields())
        for key in sorted(keys):
            value = getattr(own.filter, key)
            if isinstance(value, bool) or not isinstance(value, float) or not np.isfinite(value):
                continue
            for factor in FACTORS:
                try:
                    changed = type(own.filter)(**{**own.filter.model_dump(), key: factor * value})
                except ValidationError:
                    continue
                variants.append(NamedFilter(name, changed))
        return variants

    def of_file(self, file: str, verdicts: Verdicts) -> list[DecidedClip]:
        """The clips of a file in order of time."""
        return [DecidedClip(self.clips[row], verdicts[row]) for row in self.rows_of_file[file]]
