"""Counts of the report's funnel."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from wanctl.curate.select.funnel import FunnelRow, count_funnel
from wanctl.report.outcome import Outcome

_pc: Any = pc  # its functions are unknown to type checkers


def funnel_rows(outcome: Outcome, bounds: dict[str, tuple[float, ...]]) -> list[FunnelRow]:
    """One row per filter, in the recipe's order."""
    keeps = {name: ~outcome.dropped[:, column] for column, name in enumerate(outcome.names)}
    scores = {name: outcome.scores[:, column] for column, name in enumerate(outcome.names)}
    return count_funnel(keeps, scores, bounds).rows()


def top_reasons(outcome: Outcome) -> dict[str, str]:
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
