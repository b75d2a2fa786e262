"""Decides from evidence: which clips stay, with which crop, weight and bucket. Decodes nothing."""

from collections.abc import Sequence
from typing import Any

from wanctl.curate.deciding import Decisions
from wanctl.curate.evidence import check_measured, failures_of, missing_parts, read_measured
from wanctl.curate.registry import NamedFilter
from wanctl.curate.selection import SelectRules, choose
from wanctl.data.dataset import DatasetDir
from wanctl.log import log

__all__ = ["SelectRules", "decide", "measured"]


def measured(dataset: DatasetDir, filters: Sequence[NamedFilter]) -> list[NamedFilter]:
    """The filters that can decide: all but optional ones that never measured this data set.

    Unlike measuring, deciding needs no model, so a set measured on one machine can be decided
    on another where a filter cannot run.
    """
    ready = []
    for named in filters:
        if named.filter.optional and missing_parts(dataset, named):
            log.warning("filter %s is left out: it is optional and did not measure", named.name)
        else:
            ready.append(named)
    return ready


def decide(
    dataset: DatasetDir, filters: Sequence[NamedFilter], rules: SelectRules
) -> list[dict[str, Any]]:
    """Rows of a selection, one per clip in the order of the clips table.

    Raises:
        UserError: some clip was never measured with a filter's present settings.
    """
    for named in filters:
        check_measured(dataset, named)
    failures = failures_of(dataset)
    decisions = Decisions.begin(dataset.clips())
    for named in filters:
        decisions.decide(named, read_measured(dataset, named, decisions.clips["id"]), failures)
    chosen = choose(decisions, rules)
    if chosen.unfit:
        log.warning(
            "%d kept clips serve no bucket of train_dit; the first: %s",
            chosen.unfit,
            chosen.why_unfit,
        )
    return chosen.table.to_pylist()
