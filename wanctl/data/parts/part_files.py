"""Reads the Parquet files of tables: their rows, and what their footers say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wanctl.data.description import DatasetError

_MADE_BY = {
    "clips": "`wanctl curate FOLDER`",
    "evidence": "`wanctl curate FOLDER`",
    "embeddings": "`wanctl curate FOLDER`",
    "quarantine": "`wanctl curate FOLDER`",
    "selections": "`wanctl data select`",
    "captions": "`wanctl caption`",
}
"""Kind of table -> the command that makes its parts."""

_pc: Any = pc  # its functions are unknown to type checkers


def read_rows(path: Path, columns: Sequence[str] | None, coded: Sequence[str] = ()) -> pa.Table:
    """All rows of one file.

    Args:
        path: the file.
        columns: only these.
        coded: text columns among them that are returned dictionary-encoded.

    Raises:
        DatasetError: the file is damaged; says what to do.
    """
    try:
        # One thread, no read-ahead: the parts are small, and pyarrow 26 sometimes aborts the
        # process at exit while its pools wind down (1 run in 10 measured).
        with (
            path.open("rb") as file,
            pq.ParquetFile(file, pre_buffer=False, read_dictionary=list(coded)) as parquet,
        ):
            return parquet.read(columns=list(columns) if columns else None, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def read_footer(path: Path) -> pq.FileMetaData:
    """The footer of one file: rows, row groups, statistics.

    Raises:
        DatasetError: the file is damaged; says what to do.
    """
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def id_ranges(path: Path) -> tuple[tuple[int, str, str], ...]:
    """Per row group, its rows and the first and last id by name, from the footer."""
    footer = read_footer(path)
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    place = footer.schema.names.index("id")
    ids = [group.column(place).statistics for group in groups]
    return tuple(
        (group.num_rows, "" if each is None else each.min, "" if each is None else each.max)
        for group, each in zip(groups, ids, strict=True)
    )


def check_ids(rows: pa.Table, path: Path) -> None:
    """Check that ids of clips name files in any folder that they are joined to.

    Raises:
        DatasetError: one would name a file elsewhere.
    """
    if "id" not in rows.column_names:
        return
    plain = _pc.fill_null(_pc.match_substring_regex(rows["id"], r"^[0-9A-Za-z_][\w.-]*$"), False)
    if not _pc.all(plain, min_count=0).as_py():
        bad = rows["id"].filter(_pc.invert(plain))[0].as_py()
        raise DatasetError(f"{path}: {bad!r} is no id of a clip; curate the footage again")


def damaged(path: Path, error: Exception) -> DatasetError:
    """The error of a part that cannot be read."""
    kind = path.parent.name if path.parent.name in _MADE_BY else path.parent.parent.name
    command = _MADE_BY.get(kind, "the command that wrote it")
    return DatasetError(
        f"{path}: not readable ({str(error).splitlines()[0]}); delete it and run {command}, which "
        "makes it again"
    )
