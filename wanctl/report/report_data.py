"""The data behind report.html: the decided clips, and the examples that are shown of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc

from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.funnel import FunnelRow, count_funnel
from wanctl.data.dataset import DatasetDir
from wanctl.report.decided_clips import DecidedClips
from wanctl.report.examples import Examples, choose_examples

_pc: Any = pc  # its functions are unknown to type checkers


@dataclass(frozen=True)
class ReportData:
    """The data behind the page.

    Attributes:
        dataset: for captions, quarantine, timings and the recipe.
        selection: name of the selection.
        filters: the recipe's filters, in order.
        decided: all clips with their verdicts.
        examples: the clips that are shown.
    """

    dataset: DatasetDir
    selection: str
    filters: Sequence[NamedFilter]
    decided: DecidedClips
    examples: Examples

    @classmethod
    def of(
        cls, dataset: DatasetDir, selection: str, filters: Sequence[NamedFilter]
    ) -> "ReportData":
        """Read a selection and choose examples from it."""
        table = dataset.read(f"selections/{selection}")
        decided = DecidedClips.of(dataset.clips(), table, [named.name for named in filters])
        bounds = {named.name: named.filter.bounds() for named in filters}
        return cls(dataset, selection, filters, decided, choose_examples(decided, bounds))

    @cached_property
    def funnel(self) -> list[FunnelRow]:
        """One row per filter, in the recipe's order."""
        decided = self.decided
        keeps = {name: ~decided.dropped[:, column] for column, name in enumerate(decided.names)}
        scores = {name: decided.scores[:, column] for column, name in enumerate(decided.names)}
        bounds = {named.name: named.filter.bounds() for named in self.filters}
        return count_funnel(keeps, scores, bounds).rows()

    @cached_property
    def record_index(self) -> dict[int, int]:
        """Row of `decided` -> index among the clip records of the page."""
        return {row: index for index, row in enumerate(self.examples.records)}

    def top_reasons(self) -> dict[str, str]:
        """Filter -> an example of its most frequent reason, numbers in reasons disregarded."""
        texts = _pc.list_flatten(self.decided.selection["reasons"]).combine_chunks()
        kinds = _pc.replace_substring_regex(texts, pattern=r"\d+([.,]\d+)*", replacement="#")
        encoded = kinds.dictionary_encode()
        codes = encoded.indices.to_numpy()
        counts = np.bincount(codes, minlength=len(encoded.dictionary))
        reasons: dict[str, str] = {}
        for code in np.argsort(-counts, kind="stable").tolist():
            name = encoded.dictionary[code].as_py().partition(":")[0]
            if name not in reasons:
                example = texts[int(np.argmax(codes == code))].as_py()
                reasons[name] = example.partition(": ")[2]
        return reasons
