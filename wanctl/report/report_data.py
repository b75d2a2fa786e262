"""The data behind report.html: the decided clips, and the examples that are shown of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.funnel import FunnelRow, count_funnel
from wanctl.curate.select.overrides import Override, read_overrides
from wanctl.data.dataset import DatasetDir
from wanctl.report.decided_clips import DecidedClips
from wanctl.report.examples import Examples, choose_examples
from wanctl.report.records.clip_drawings import ClipDrawings, read_drawings
from wanctl.report.records.reasons import ReasonKinds


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
        by_person = decided.kept & decided.dropped.any(axis=1)
        return count_funnel(keeps, scores, bounds, by_person).rows()

    @cached_property
    def record_index(self) -> dict[int, int]:
        """Row of `decided` -> index among the clip records of the page."""
        return {row: index for index, row in enumerate(self.examples.records)}

    @cached_property
    def reasons(self) -> ReasonKinds:
        """The kinds of reasons for which clips are dropped."""
        return ReasonKinds.of(self.decided.selection["reasons"])

    @cached_property
    def drawings(self) -> dict[str, ClipDrawings]:
        """Clip id -> drawings, of the clips with a thumbnail."""
        rows = self.examples.thumbnails
        return read_drawings(self.dataset, self.filters, self.decided, rows)

    @cached_property
    def overrides(self) -> dict[str, Override]:
        """Clip id -> what a person decided, whether or not the selection knows it."""
        return read_overrides(self.dataset.path)
