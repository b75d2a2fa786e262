"""What the report is made of: the decided set, and the clips of it that are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.funnel import FunnelRow
from wanctl.data.dataset import DatasetDir
from wanctl.report.choose import Choice, choose
from wanctl.report.outcome import Outcome
from wanctl.report.tally import funnel_rows


@dataclass(frozen=True)
class Material:
    """What the page is made of.

    Attributes:
        dataset: for captions, quarantine, timings and the recipe.
        selection: its name.
        filters: the recipe's filters, in order.
        outcome: the decided set.
        choice: the clips that are shown.
    """

    dataset: DatasetDir
    selection: str
    filters: Sequence[NamedFilter]
    outcome: Outcome
    choice: Choice

    @classmethod
    def of(cls, dataset: DatasetDir, selection: str, filters: Sequence[NamedFilter]) -> "Material":
        """Read a selection and choose from it."""
        chosen = dataset.read(f"selections/{selection}")
        outcome = Outcome.of(dataset.clips(), chosen, [named.name for named in filters])
        choice = choose(outcome, {named.name: named.filter.bounds() for named in filters})
        return cls(dataset, selection, filters, outcome, choice)

    @cached_property
    def funnel(self) -> list[FunnelRow]:
        """What each filter does, in the recipe's order."""
        return funnel_rows(self.outcome, {each.name: each.filter.bounds() for each in self.filters})

    @cached_property
    def places(self) -> dict[int, int]:
        """Row of the outcome -> place among the records."""
        return {row: place for place, row in enumerate(self.choice.records)}
