"""A filter that can be trained on labels, with the clips that it decides on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from wanctl.curate.columns import ClipBatch
from wanctl.curate.quantiles import percentile_values, quantiles_of
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.decisions import Decisions
from wanctl.curate.select.evidence import check_evidence, measure_failures, read_evidence
from wanctl.curate.select.select import filters_with_evidence
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError, unknown


@dataclass(frozen=True)
class TrainableFilter:
    """A filter that can be trained on labels, and the clips that it decides on.

    Attributes:
        named: the filter.
        batch: its clips and evidence, with the verdicts of the filters before it.
        dataset: the clips' data set.
    """

    named: NamedFilter
    batch: ClipBatch
    dataset: DatasetDir

    def with_key(self, key: str, value: str) -> "TrainableFilter":
        """Set a key of the filter that decides nothing but the training.

        Raises:
            UserError: the filter has no such key, or the value is not allowed.
        """
        name, filter_ = self.named.name, self.named.filter
        if key not in type(filter_).model_fields:
            raise UserError(f"filter {name} has no choice of {key}; leave --{key} out")
        allowed = get_args(type(filter_).model_fields[key].annotation)
        if value not in allowed:
            raise UserError(f"--{key}: {unknown('value', value, allowed)}")
        changed = filter_.model_copy(update={key: value})
        return replace(self, named=NamedFilter(name, changed))


def open_trainable(
    filters: Sequence[NamedFilter], dataset: DatasetDir, name: str
) -> TrainableFilter:
    """Let every filter before `name` decide, and collect the clips that `name` decides on.

    Raises:
        UserError: the recipe has no such filter, it takes no labels, or it never measured.
    """
    names = [named.name for named in filters]
    if name not in names:
        raise UserError(f"curate.filters: {unknown('filter', name, names)}")
    trainable = filters[names.index(name)]
    if not trainable.filter.choices():
        others = ", ".join(each.name for each in filters if each.filter.choices()) or "none here"
        raise UserError(f"filter {name} takes no labels; those that do: {others}")
    decisions, failures = Decisions.begin(dataset.clips(), filters), measure_failures(dataset)
    ids = decisions.clips["id"]
    for named in filters_with_evidence(dataset, filters[: names.index(name)]):
        check_evidence(dataset, named)
        stored = read_evidence(dataset, named, ids, recipe=filters)
        verdicts = decisions.decide(named, stored, failures)
        if quantiles_of(named.filter) and verdicts.score is not None:
            numbers = percentile_values(named.filter, verdicts.score)
            resolved = NamedFilter(named.name, named.filter.model_copy(update=numbers))
            verdicts = decisions.decide(resolved, stored, failures)
        decisions.add(named.name, verdicts)
    check_evidence(dataset, trainable)
    return TrainableFilter(
        trainable, decisions.batch(read_evidence(dataset, trainable, ids, recipe=filters)), dataset
    )
