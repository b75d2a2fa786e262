"""Runs the filters of a recipe over a table of clips, as columns, in the order of the funnel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from wanctl.curate.columns import ClipBatch, Ragged, Verdicts
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.evidence import Failures, StoredEvidence
from wanctl.errors import UserError


@dataclass(frozen=True)
class Reasons:
    """Why clips are dropped: ascending row numbers, and a text for each.

    Texts are an Arrow column, so that millions of them pass through files and tables unchanged.
    """

    rows: np.ndarray
    texts: pa.LargeStringArray

    @classmethod
    def of(cls, rows: np.ndarray, texts: Sequence[str]) -> "Reasons":
        """Reasons from single texts."""
        return cls(rows, pa.array(texts, pa.large_string()))

    def __call__(self, row: int) -> str:
        """The text of one row."""
        at = int(np.searchsorted(self.rows, row))
        has_reason = at < len(self.rows) and self.rows[at] == row
        return self.texts[at].as_py() if has_reason else ""


@dataclass
class Decisions:
    """Clips with the verdicts of the filters that have decided so far.

    Attributes:
        clips: columns of the clips table.
        views: (N, 4) int32, the part of each frame within the crops so far.
        verdicts: filter -> verdicts, one row per clip, with every reason written out.
        shortest: filter -> (seconds, frames) of the shortest clip that it keeps.
    """

    clips: pa.Table
    views: np.ndarray
    verdicts: Mapping[str, Verdicts] = field(default_factory=dict)
    shortest: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    @classmethod
    def begin(cls, clips: pa.Table, filters: Sequence[NamedFilter]) -> "Decisions":
        """Clips before the first of the recipe's filters."""
        return cls(clips, whole_views(clips), {}, shortest_of(filters))

    def decide(
        self,
        named: NamedFilter,
        stored: StoredEvidence,
        failures: Failures,
        *,
        with_reasons: bool = True,
    ) -> Verdicts:
        """One filter's verdicts on the clips; clips without evidence are dropped.

        Args:
            named: the filter.
            stored: its stored evidence.
            failures: why evidence is missing.
            with_reasons: write out the reasons, which takes longer than deciding; else they are "".
        """
        self._check_lost(named, stored, failures)
        verdicts = named.filter.decide_many(self.batch(stored))
        return expand_verdicts(
            verdicts,
            stored.rows,
            self._missing_reasons(named, failures),
            with_reasons=with_reasons,
        )

    def _check_lost(self, named: NamedFilter, stored: StoredEvidence, failures: Failures) -> None:
        """Check that the quarantine says why clips were not measured.

        Raises:
            UserError: it does not: rows of a table are missing; says what to run.
        """
        if stored.rows is None:
            return
        reasons = self._missing_reasons(named, failures)
        absent = np.setdiff1d(np.arange(len(self.clips)), stored.rows)
        lost = [row for row in absent.tolist() if not reasons.known(row)]
        if lost:
            raise UserError(
                f"filter {named.name!r} has neither measured {len(lost)} clips nor put them into "
                f"the quarantine (first: {self.clips['id'][lost[0]].as_py()}): rows of "
                f"{named.table} are missing; run `wanctl curate FOLDER` with this recipe, which "
                "makes them again"
            )

    def batch(self, stored: StoredEvidence) -> ClipBatch:
        """The batch that a filter decides on: the clips that it measured."""
        rows = stored.rows
        if rows is None:
            return ClipBatch(
                self.clips,
                stored.evidence,
                self.views,
                self.verdicts,
                stored.vectors,
                stored.others,
                self.shortest,
            )
        return ClipBatch(
            self.clips.take(rows),
            stored.evidence,
            self.views[rows],
            _RowSubset(self.verdicts, rows),
            stored.vectors,
            stored.others,
            self.shortest,
        )

    def add(self, name: str, verdicts: Verdicts) -> None:
        """Add a filter's verdicts, one row per clip."""
        self.verdicts = {**self.verdicts, name: verdicts}
        if verdicts.crops is not None:
            self.views = intersect(self.views, verdicts.crops)

    def _missing_reasons(self, named: NamedFilter, failures: Failures) -> "_MissingReasons":
        embedder = named.filter.embedder()
        stages = (named.name, *([embedder.name] if embedder else []))
        return _MissingReasons(self.clips["id"], stages, failures)


@dataclass(frozen=True)
class _MissingReasons:
    """Row -> why the clip was not measured; the text is made on request."""

    ids: pa.ChunkedArray
    stages: Sequence[str]
    failures: Failures

    def __call__(self, row: int) -> str:
        """The reason of one row."""
        name = self.ids[row].as_py()
        errors = (self.failures.get((name, stage)) for stage in self.stages)
        return f"not measured: {next(filter(None, errors), 'lost')}"

    def known(self, row: int) -> bool:
        """Whether the quarantine says why a clip was not measured."""
        name = self.ids[row].as_py()
        return any((name, stage) in self.failures for stage in self.stages)

    def __len__(self) -> int:
        return len(self.ids)


def expand_verdicts(
    verdicts: Verdicts,
    rows: np.ndarray | None,
    missing: _MissingReasons,
    *,
    with_reasons: bool = True,
) -> Verdicts:
    """Expand verdicts on the measured clips to one row per clip; unmeasured clips are dropped.

    A filter's own `why` holds its evidence in memory; here it is replaced by the texts, which are
    written out if `with_reasons` and "" otherwise.
    """
    keep = np.asarray(verdicts.keep, dtype=bool)
    dropped = np.flatnonzero(~keep & with_reasons)
    texts = [verdicts.why(row) for row in dropped.tolist()]
    if rows is None:
        return replace(verdicts, keep=keep, why=Reasons.of(dropped, texts))
    all_keep = np.zeros(len(missing), dtype=bool)
    all_keep[rows] = keep
    why = dict(zip(rows[dropped].tolist(), texts, strict=True))
    dropped = np.flatnonzero(~all_keep & with_reasons)
    return Verdicts(
        keep=all_keep,
        why=Reasons.of(dropped, [why.get(row) or missing(row) for row in dropped.tolist()]),
        score=_spread(verdicts.score, rows, len(missing), fill=np.nan),
        crops=_spread(verdicts.crops, rows, len(missing), fill=0),
        weight=_spread(verdicts.weight, rows, len(missing), fill=1.0),
        label=_spread(verdicts.label, rows, len(missing), fill=None),
        spans=_spread(verdicts.spans, rows, len(missing), fill=np.nan),
        span_reasons=_spread(verdicts.span_reasons, rows, len(missing), fill=None),
    )


def shortest_of(filters: Sequence[NamedFilter]) -> dict[str, tuple[float, int]]:
    """Filter -> (seconds, frames) of the shortest clip that it keeps, of those that say so."""
    every = {named.name: named.filter.shortest() for named in filters}
    return {name: floor for name, floor in every.items() if any(floor)}


def whole_views(clips: pa.Table) -> np.ndarray:
    """(N, 4) int32: the whole of each frame."""
    views = np.zeros((clips.num_rows, 4), dtype=np.int32)
    views[:, 2], views[:, 3] = clips["width"].to_numpy(), clips["height"].to_numpy()
    return views


def intersect(views: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Intersection of each view with its crop; without area where they do not overlap.

    A crop of width 0 leaves the view unchanged. Other crops get even edges, as chroma is stored for
    two by two pixels; uncropped frames keep their size, even or odd.
    """
    low = np.maximum(np.maximum(views[:, :2], crops[:, :2]), 0)
    high = np.minimum(views[:, :2] + views[:, 2:], crops[:, :2] + crops[:, 2:])
    low, high = low + low % 2, high // 2 * 2
    both = np.concatenate([low, np.maximum(high - low, 0)], axis=1).astype(np.int32)
    return np.where(crops[:, 2:3] > 0, both, views)


class _RowSubset(Mapping[str, Verdicts]):
    """Some rows of verdicts, selected on access."""

    def __init__(self, verdicts: Mapping[str, Verdicts], rows: np.ndarray) -> None:
        self._verdicts = verdicts
        self._rows = rows

    def __getitem__(self, name: str) -> Verdicts:
        return take_verdicts(self._verdicts[name], self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)


def concat_verdicts(several: Sequence[Verdicts]) -> Verdicts:
    """Concatenate verdicts on consecutive clips, without reasons."""

    def column(name: str, fill: object, dtype: type) -> np.ndarray | None:
        columns = [getattr(each, name) for each in several]
        shape = next((each.shape[1:] for each in columns if each is not None), None)
        if shape is None:
            return None
        rows = [len(each.keep) for each in several]
        return np.concatenate([
            np.full((count, *shape), fill, dtype) if each is None else each
            for each, count in zip(columns, rows, strict=True)
        ])  # fmt: skip

    return Verdicts(
        keep=np.concatenate([each.keep for each in several]),
        why=Reasons.of(np.zeros(0, dtype=np.int64), []),
        score=column("score", np.nan, np.float64),
        crops=column("crops", 0, np.int32),
        weight=column("weight", 1.0, np.float64),
        label=column("label", None, object),
        spans=column("spans", np.nan, np.float64),
        span_reasons=column("span_reasons", None, object),
    )


def slice_verdicts(verdicts: Verdicts, start: int, stop: int) -> Verdicts:
    """Rows `start` to `stop` of verdicts whose reasons are written out."""
    why = verdicts.why
    assert isinstance(why, Reasons)
    low, high = np.searchsorted(why.rows, [start, stop]).tolist()
    rows = take_verdicts(verdicts, np.arange(start, stop))
    return replace(rows, why=Reasons(why.rows[low:high] - start, why.texts[low:high]))


def take_verdicts(verdicts: Verdicts, rows: np.ndarray) -> Verdicts:
    """Some rows of verdicts, in the order of `rows`."""

    def of(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else column[rows]

    return Verdicts(
        keep=verdicts.keep[rows],
        why=lambda row: verdicts.why(int(rows[row])),
        score=of(verdicts.score),
        crops=of(verdicts.crops),
        weight=of(verdicts.weight),
        label=of(verdicts.label),
        spans=of(verdicts.spans),
        span_reasons=of(verdicts.span_reasons),
    )


def take_rows(batch: ClipBatch, rows: np.ndarray) -> ClipBatch:
    """Some rows of a batch, in the order of `rows`."""
    verdicts = {name: take_verdicts(verdict, rows) for name, verdict in batch.verdicts.items()}
    return ClipBatch(
        batch.clips.take(rows),
        batch.evidence.take(rows),
        batch.views[rows],
        verdicts,
        None if batch.vectors is None else _take_lists(batch.vectors, rows),
        {name: table.take(rows) for name, table in batch.others.items()},
        batch.shortest,
    )


def _take_lists(lists: Ragged, rows: Sequence[int] | np.ndarray) -> Ragged:
    counts = lists.counts()[rows]
    starts = np.concatenate([[0], np.cumsum(counts)])
    pieces = [lists[int(row)] for row in rows]
    return Ragged(np.concatenate(pieces) if pieces else lists.values[:0], starts)


def _spread(
    column: np.ndarray | None, rows: np.ndarray, count: int, *, fill: object
) -> np.ndarray | None:
    if column is None:
        return None
    full = np.full((count, *column.shape[1:]), fill, dtype=column.dtype)
    full[rows] = column
    return full
