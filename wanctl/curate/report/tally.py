"""Counts of the report's funnel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from wanctl.curate.report.outcome import Outcome

_pc: Any = pc  # its functions are unknown to type checkers


@dataclass(frozen=True)
class FunnelRow:
    """What one filter does to the set.

    Attributes:
        name: of the filter.
        left: clips that it and all filters before it keep.
        drops: clips that it would drop on its own.
        alone: clips that only it drops.
        top: an example of its most frequent reason.
    """

    name: str
    left: int
    drops: int
    alone: int
    top: str = ""


def tally(outcome: Outcome) -> list[FunnelRow]:
    """One row per filter, in the recipe's order."""
    gone = np.zeros(len(outcome), dtype=bool)
    single = outcome.dropped.sum(axis=1) == 1
    tops = _top_reasons(outcome)
    rows = []
    for column, name in enumerate(outcome.names):
        mine = outcome.dropped[:, column]
        gone |= mine
        rows.append(
            FunnelRow(
                name=name,
                left=int((~gone).sum()),
                drops=int(mine.sum()),
                alone=int((mine & single).sum()),
                top=tops.get(name, ""),
            )
        )
    return rows


def _top_reasons(outcome: Outcome) -> dict[str, str]:
    """Filter -> a reason of the kind it gives most often; the same but for numbers is a kind."""
    texts = _pc.list_flatten(outcome.selection["reasons"]).combine_chunks()
    kinds = _pc.replace_substring_regex(texts, pattern=r"\d+([.,]\d+)*", replacement="#")
    encoded = kinds.dictionary_encode()
    codes = encoded.indices.to_numpy()
    counts = np.bincount(codes, minlength=len(encoded.dictionary))
    tops: dict[str, str] = {}
    for code in np.argsort(-counts, kind="stable").tolist():
        name = encoded.dictionary[code].as_py().partition(":")[0]
        if name not in tops:
            example = texts[int(np.argmax(codes == code))].as_py()
            tops[name] = example.partition(": ")[2]
    return tops


def funnel(selection: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[FunnelRow]:
    """The same from rows of a selection, without `top`."""
    by_clip = [{reason.partition(":")[0] for reason in row["reasons"]} for row in selection]
    gone: set[str] = set()
    rows = []
    for name in names:
        gone.add(name)
        rows.append(
            FunnelRow(
                name=name,
                left=sum(not (reasons & gone) for reasons in by_clip),
                drops=sum(name in reasons for reasons in by_clip),
                alone=sum(reasons == {name} for reasons in by_clip),
            )
        )
    return rows
