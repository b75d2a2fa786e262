"""What labelling and fitting share: one filter's clips as it sees them, and sheets of marks."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wanctl.curate.columns import ClipBatch, Ragged, Verdicts
from wanctl.curate.quantiles import percentile_values, quantiles_of
from wanctl.curate.registry import NamedFilter, build_filters
from wanctl.curate.select.deciding import Decisions
from wanctl.curate.select.evidence import check_evidence, measure_failures, read_evidence
from wanctl.curate.select.select import filters_with_evidence
from wanctl.data.dataset import DatasetDir
from wanctl.errors import ProblemsError, UserError, unknown
from wanctl.recipe.load import LoadedRecipe

COLUMNS: tuple[str, ...] = ("id", "label", "class", "score", "source", "start_s", "end_s")


@dataclass(frozen=True)
class Trainee:
    """A filter that people can train, and what it would decide on.

    Attributes:
        named: the filter.
        batch: its clips, after the filters before it have decided.
        dataset: where they are from.
    """

    named: NamedFilter
    batch: ClipBatch
    dataset: DatasetDir


def open_trainee(loaded: LoadedRecipe, out: Path, name: str) -> Trainee:
    """Let every filter before `name` decide.

    Raises:
        UserError: the recipe has no such filter, it cannot be trained, or it never measured.
    """
    try:
        filters = build_filters(loaded.recipe.curate.filters)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    names = [named.name for named in filters]
    if name not in names:
        raise UserError(f"curate.filters: {unknown('filter', name, names)}")
    wanted = filters[names.index(name)]
    if not wanted.filter.choices():
        can = ", ".join(each.name for each in filters if each.filter.choices()) or "none here"
        raise UserError(f"filter {name} takes no labels; those that do: {can}")
    dataset = DatasetDir.open(loaded.recipe.dataset.path or out / "dataset")
    decisions, failures = Decisions.begin(dataset.clips()), measure_failures(dataset)
    ids = decisions.clips["id"]
    for named in filters_with_evidence(dataset, filters[: names.index(name)]):
        check_evidence(dataset, named)
        stored = read_evidence(dataset, named, ids)
        verdicts = decisions.decide(named, stored, failures)
        if quantiles_of(named.filter) and verdicts.score is not None:
            numbers = percentile_values(named.filter, verdicts.score)
            settled = NamedFilter(named.name, named.filter.model_copy(update=numbers))
            verdicts = decisions.decide(settled, stored, failures)
        decisions.add(named.name, verdicts)
    check_evidence(dataset, wanted)
    return Trainee(wanted, decisions.batch(read_evidence(dataset, wanted, ids)), dataset)


def rows_of(batch: ClipBatch, rows: np.ndarray) -> ClipBatch:
    """Some rows of a batch, in the order given."""
    verdicts = {name: _take(verdict, rows) for name, verdict in batch.verdicts.items()}
    return ClipBatch(
        batch.clips.take(rows),
        batch.evidence.take(rows),
        batch.views[rows],
        verdicts,
        None if batch.vectors is None else _lists(batch.vectors, rows),
    )


def read_sheet(path: Path, choices: Mapping[str, str]) -> dict[str, str]:
    """Clip id -> mark, of the rows that have one.

    Raises:
        UserError: no such file, no such columns, or a mark that is none; says the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable sheet of labels: {error}") from error
    if not {"id", "label"} <= set(columns):
        raise UserError(f"{path}: wants the columns id and label, has {', '.join(columns) or '-'}")
    marks = {}
    for number, row in enumerate(rows, start=2):
        mark = (row["label"] or "").strip()
        if not mark:
            continue
        if mark not in choices:
            raise UserError(
                f"{path}:{number}: label {mark!r} is none of {', '.join(choices)}; "
                "leave it empty to pass the clip over"
            )
        marks[row["id"]] = mark
    return marks


def _take(verdicts: Verdicts, rows: np.ndarray) -> Verdicts:
    def of(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else column[rows]

    return Verdicts(
        keep=verdicts.keep[rows],
        why=lambda row: verdicts.why(int(rows[row])),
        score=of(verdicts.score),
        crops=of(verdicts.crops),
        weight=of(verdicts.weight),
        label=of(verdicts.label),
    )


def _lists(lists: Ragged, rows: Sequence[int] | np.ndarray) -> Ragged:
    counts = lists.counts()[rows]
    starts = np.concatenate([[0], np.cumsum(counts)])
    pieces = [lists[int(row)] for row in rows]
    return Ragged(np.concatenate(pieces) if pieces else lists.values[:0], starts)
