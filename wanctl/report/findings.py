"""What is stored beside decisions and helps to judge them: captions, outlines, words read.

Only the clips that are shown are read from the tables.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.registry import NamedFilter
from wanctl.data.dataset import DatasetDir

_pc: Any = pc  # its functions are unknown to type checkers

MAX_OUTLINES = 40
MAX_WORDS = 400


def captions_of(dataset: DatasetDir, ids: Sequence[str]) -> dict[str, list[list[str]]]:
    """Clip id -> its captions, each [variant, backend, text]; none where nothing is captioned."""
    found: dict[str, list[list[str]]] = {}
    for table in dataset.tables("captions"):
        for row in _rows(dataset, table, ids):
            found.setdefault(row["id"], []).append([row["variant"], row["backend"], row["text"]])
    return found


def outlines_of(
    dataset: DatasetDir, filters: Sequence[NamedFilter], ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Clip id -> filter -> polygons of the frame that has most of them, in display pixels."""
    return _evidence(dataset, filters, ids, "polygons", _fullest)


def words_of(
    dataset: DatasetDir, filters: Sequence[NamedFilter], ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Clip id -> filter -> the strings it stored, such as text that was read."""
    return _evidence(dataset, filters, ids, "strings", lambda texts: " · ".join(texts)[:MAX_WORDS])


def _evidence(
    dataset: DatasetDir, filters: Sequence[NamedFilter], ids: Sequence[str], kind: str, brief: Any
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for named in filters:
        columns = [name for name, word in named.filter.evidence.items() if word == kind]
        if not columns:
            continue
        for row in _rows(dataset, named.table, ids, ["id", *columns]):
            if value := brief([each for name in columns for each in row[name] or ()]):
                found.setdefault(row["id"], {})[named.name] = value
    return found


def _fullest(frames: Sequence[Sequence[Sequence[float]]]) -> list[list[int]]:
    most = max(frames, key=len, default=[])
    return [[round(number) for number in polygon] for polygon in most[:MAX_OUTLINES]]


def _rows(
    dataset: DatasetDir, table: str, ids: Sequence[str], columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    wanted = pa.array(ids, pa.string())
    for part in dataset.parts(table):
        rows = dataset.read(table, columns, parts=[part])
        yield from rows.filter(_pc.is_in(rows["id"], value_set=wanted)).to_pylist()
