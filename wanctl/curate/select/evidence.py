"""Reads stored evidence in the order of the clips to decide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.api import Embedder
from wanctl.curate.columns import Ragged
from wanctl.curate.registry import NamedFilter, Unit, measured_units
from wanctl.data.accounting import unaccounted
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError

_pc: Any = pc  # its functions are unknown to type checkers
_NO_VECTORS = pa.array([], type=pa.float16())

Failures = Mapping[tuple[str, str], str]
"""(clip id, stage) -> error of measuring."""


@dataclass(frozen=True)
class StoredEvidence:
    """Stored evidence of some clips for one filter.

    Attributes:
        rows: indices of the clips that were measured; None: all.
        evidence: one row per measured clip.
        vectors: frame embeddings per measured clip, for filters with an embedder.
        others: evidence of the filters in its `other_evidence`, one row per measured clip; null
            where the other filter did not measure the clip.
    """

    rows: np.ndarray | None
    evidence: pa.Table
    vectors: Ragged | None = None
    others: Mapping[str, pa.Table] = field(default_factory=dict)


def read_evidence(
    dataset: DatasetDir,
    named: NamedFilter,
    ids: pa.ChunkedArray,
    parts: Sequence[str] | None = None,
    recipe: Sequence[NamedFilter] = (),
) -> StoredEvidence:
    """Read one filter's evidence and embeddings in the order of `ids`.

    Args:
        dataset: the data set.
        named: the filter.
        ids: ids of the clips to decide.
        parts: parts that hold them; None: all parts.
        recipe: the filters of the recipe, of which it may read some.
    """
    units = measured_units([named])
    read = [_read(dataset, unit, ids, parts) for unit in units]
    tables, places = [table for table, _ in read], [place for _, place in read]
    present = np.logical_and.reduce([place >= 0 for place in places if place is not None] or [True])
    rows = None if np.all(present) else np.flatnonzero(present)
    evidence = pa.table({"id": ids if rows is None else ids.take(rows)})
    vectors = None
    for unit, table, place in zip(units, tables, places, strict=True):
        if place is not None:
            table = table.take(place if rows is None else place[rows])
        elif rows is not None:
            table = table.take(rows)
        if isinstance(unit.measurer, Embedder):
            vectors = frame_vectors(table)
        else:
            evidence = table
    measured = ids if rows is None else ids.take(rows)
    others = {
        other.name: _read_other(dataset, other, measured, parts)
        for other in recipe
        if other.name in named.filter.other_evidence and other.filter.evidence
    }
    return StoredEvidence(rows, evidence, vectors, others)


def concat_evidence(pieces: Iterable[tuple[int, StoredEvidence]], file: Path) -> StoredEvidence:
    """Concatenate the evidence of consecutive slices.

    Args:
        pieces: (number of clips of the slice, their evidence).
        file: file for the vectors, which is memory-mapped: those of millions of clips exceed
            memory.
    """
    rows: list[np.ndarray] = []
    evidence: list[pa.Table] = []
    others: dict[str, list[pa.Table]] = {}
    sizes: list[np.ndarray] = []
    start = width = 0
    with file.open("wb") as out:
        for count, stored in pieces:
            rows.append(start + (np.arange(count) if stored.rows is None else stored.rows))
            start += count
            evidence.append(stored.evidence)
            for name, table in stored.others.items():
                others.setdefault(name, []).append(table)
            if stored.vectors is not None:
                sizes.append(stored.vectors.counts())
                width = max(width, stored.vectors.values.shape[1])
                np.asarray(stored.vectors.values, dtype=np.float16).tofile(out)
    present = np.concatenate(rows)
    return StoredEvidence(
        None if len(present) == start else present,
        pa.concat_tables(evidence),
        _mapped(file, np.concatenate(sizes), width) if sizes else None,
        {name: pa.concat_tables(tables) for name, tables in others.items()},
    )


def _mapped(file: Path, sizes: np.ndarray, width: int) -> Ragged:
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    shape = (int(starts[-1]), width)
    empty = not starts[-1]
    values = np.empty(shape, np.float16) if empty else np.memmap(file, np.float16, "r", shape=shape)
    return Ragged(values, starts)


def measure_failures(dataset: DatasetDir) -> Failures:
    """Errors of the clips without evidence, from the quarantine."""
    table = dataset.read("quarantine", ["clip_id", "stage", "error"])
    table = table.filter(_pc.not_equal(table["clip_id"], ""))
    clips, stages, errors = (column.to_pylist() for column in table.columns)
    return dict(zip(zip(clips, stages, strict=True), errors, strict=True))


def missing_parts(dataset: DatasetDir, named: NamedFilter) -> set[str]:
    """Parts of the clips table that a filter has not measured with its current settings."""
    parts = set(dataset.parts("clips"))
    tables = [unit.table for unit in measured_units([named])]
    return {part for table in tables for part in parts - set(dataset.parts(table))}


def check_sources(dataset: DatasetDir) -> None:
    """Check that every file has clips or an entry in the quarantine.

    Raises:
        UserError: some have neither; says what to run.
    """
    removed = dataset.removed
    lost = [
        f"{part}: {source}"
        for part, sources in dataset.source_parts()
        for source in unaccounted(dataset, part, [each for each in sources if each not in removed])
    ]
    if lost:
        raise UserError(
            f"{dataset.path}: {len(lost)} files have neither clips nor an entry in the quarantine, "
            f"because tables are missing or a run was stopped (first: {lost[0]}); "
            "run `wanctl curate FOLDER` with this recipe, which makes them again"
        )


def check_evidence(dataset: DatasetDir, named: NamedFilter) -> None:
    """Check that a filter has measured all parts.

    Raises:
        UserError: some parts were never measured; says what to run.
    """
    if missing := missing_parts(dataset, named):
        raise UserError(
            f"{dataset.path}: {len(missing)} parts were not measured with filter {named.name!r} "
            f"as it is set now ({named.key}); run `wanctl curate FOLDER` with this recipe"
        )


def frame_vectors(table: pa.Table) -> Ragged:
    """Vectors of a table of embeddings, one row per frame."""
    starts = np.concatenate([[0], np.cumsum(table["frames"].to_numpy(), dtype=np.int64)])
    chunks = [chunk.flatten() for chunk in table["vector"].chunks]
    flat = pa.concat_arrays(chunks or [_NO_VECTORS]).to_numpy(zero_copy_only=False)
    return Ragged(flat.reshape(starts[-1], -1) if len(flat) else flat[:, None], starts)


def _read(
    dataset: DatasetDir, unit: Unit, ids: pa.ChunkedArray, parts: Sequence[str] | None
) -> tuple[pa.Table, np.ndarray | None]:
    """A table and the row of each id in it; None where the table has the order of `ids`."""
    if parts and all(dataset.same_ids(part, "clips", unit.table) for part in parts):
        # reading the ids takes as long as reading the evidence
        columns = [name for name in unit.schema.names if name != "id"]
        table = dataset.read(unit.table, columns, parts=parts)
        if table.num_rows == len(ids):
            return table.add_column(0, "id", ids), None
    table = dataset.read(unit.table, parts=parts)
    return table, _places(ids, table["id"])


def _read_other(
    dataset: DatasetDir, other: NamedFilter, ids: pa.ChunkedArray, parts: Sequence[str] | None
) -> pa.Table:
    """Evidence of another filter, one row per id; null where that filter has none."""
    (unit,) = [unit for unit in measured_units([other]) if not isinstance(unit.measurer, Embedder)]
    table, places = _read(dataset, unit, ids, parts)
    if places is None:
        return table
    return table.take(pa.array(places, mask=places < 0))


def _places(ids: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray | None:
    """(N,) row of each id, -1 where it is missing; None where both columns are equal."""
    if among.equals(ids):
        return None
    at = _pc.index_in(ids, value_set=among.combine_chunks())
    return at.fill_null(-1).to_numpy()
