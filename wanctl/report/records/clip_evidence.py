"""Captions and strings that are stored for the clips on the page.

Only the clips that are shown are read from the tables.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.registry import NamedFilter
from wanctl.data.dataset import DatasetDir

_pc: Any = pc  # its functions are unknown to type checkers

MAX_WORDS = 400


def read_captions(dataset: DatasetDir, ids: Sequence[str]) -> dict[str, list[list[str]]]:
    """Clip id -> its captions, each [variant, backend, text], where it has any."""
    captions: dict[str, list[list[str]]] = {}
    for table in dataset.tables("captions"):
        for row in _rows(dataset, table, ids):
            if not row["text"]:  # rejected in a review
                continue
            captions.setdefault(row["id"], []).append([row["variant"], row["backend"], row["text"]])
    return captions


def read_strings(
    dataset: DatasetDir, filters: Sequence[NamedFilter], ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Clip id -> filter -> the strings it stored, e.g. OCR text; MAX_WORDS characters at most."""
    evidence: dict[str, dict[str, Any]] = {}
    for named in filters:
        columns = [name for name, kind in named.filter.evidence.items() if kind == "strings"]
        if not columns:
            continue
        for row in _rows(dataset, named.table, ids, ["id", *columns]):
            if value := _joined([each for name in columns for each in row[name] or ()]):
                evidence.setdefault(row["id"], {})[named.name] = value
    return evidence


def _joined(texts: Sequence[str]) -> str:
    return " · ".join(texts)[:MAX_WORDS]


def _rows(
    dataset: DatasetDir, table: str, ids: Sequence[str], columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    wanted = pa.array(ids, pa.string())
    for part in dataset.parts(table):
        rows = dataset.read(table, columns, parts=[part])
        yield from rows.filter(_pc.is_in(rows["id"], value_set=wanted)).to_pylist()
