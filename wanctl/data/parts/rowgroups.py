"""Parquet files written one row group at a time, so that memory never holds the whole table."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wanctl.atomic import replacing

ROW_GROUP = 65536
"""Rows per row group, whatever tables they come in."""

# Nothing that depends on the machine or the time is written into the file.
_OPTIONS = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "1.0",
    "store_schema": False,
}


def write_rows(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    *,
    coded: Sequence[str] | None = None,
) -> int:
    """Write tables one after the other as one file, completely or not at all.

    Equal rows give equal bytes, in however many tables they come.

    Args:
        path: the file.
        schema: of the file.
        tables: its rows.
        coded: columns that are dictionary-encoded; None: all.

    Returns:
        The number of rows.
    """
    count = 0
    waiting: list[pa.Table] = []
    with replacing(path) as temp, _writer(temp, schema, coded) as writer:
        for table in tables:
            count += table.num_rows
            waiting.append(table.select(schema.names).cast(schema))
            waiting = _write_full(writer, waiting)
        rest = pa.concat_tables(waiting) if waiting else schema.empty_table()
        if rest.num_rows or not count:
            writer.write_table(rest.combine_chunks(), row_group_size=ROW_GROUP)
    return count


def _writer(path: Path, schema: pa.Schema, coded: Sequence[str] | None) -> pq.ParquetWriter:
    repeating: Any = True if coded is None else list(coded)
    return pq.ParquetWriter(path, schema, use_dictionary=repeating, **_OPTIONS)


def _write_full(writer: pq.ParquetWriter, waiting: list[pa.Table]) -> list[pa.Table]:
    """Write all full row groups; returns the tables that remain."""
    if sum(table.num_rows for table in waiting) < ROW_GROUP:
        return waiting
    rows = pa.concat_tables(waiting)
    full = rows.num_rows // ROW_GROUP * ROW_GROUP
    for start in range(0, full, ROW_GROUP):
        writer.write_table(rows.slice(start, ROW_GROUP).combine_chunks())
    return [rows.slice(full)] if full < rows.num_rows else []
