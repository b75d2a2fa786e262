"""The rows of a Parquet index, row group by row group."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wanctl.data.sidecars.texts import CAPTION_KEYS
from wanctl.exchange.external.clips import LayoutError
from wanctl.exchange.external.rows import PATH_KEYS, IndexRow, no_path_column
from wanctl.textfiles import lfs_pointer_in

FIGURE_KEYS = ("num_frames", "fps", "height", "width", "resolution")
_READ = (*PATH_KEYS, *CAPTION_KEYS, *FIGURE_KEYS)
_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, ImportError)


class UnreadableCell:
    """A cell whose value does not fit its column's type, e.g. text that is not UTF-8."""

    def __repr__(self) -> str:
        return "an unreadable value"


def parquet_rows(path: Path) -> list[IndexRow]:
    """The rows of a .parquet file; columns of latents and of embedded videos are not read.

    Raises:
        LayoutError: no Parquet, or no column of files.
    """
    try:
        with path.open("rb") as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
            schema = parquet.schema_arrow
            columns = {name.strip().lower(): name for name in schema.names}
            if not columns.keys() & set(PATH_KEYS):
                raise no_path_column(path, schema.names)
            wanted = [_column(schema.field(columns[key])) for key in _READ if key in columns]
            return list(_rows(parquet, wanted))
    except LayoutError:
        raise
    except _ERRORS as error:
        if pointer := lfs_pointer_in(path):
            raise LayoutError(f"{path}: is {pointer}") from error
        raise LayoutError(f"{path}: not a readable Parquet file: {_line(error)}") from error


def _column(field: pa.Field) -> str:
    """What to read of a column: of videos that are stored in it, the paths alone."""
    if pa.types.is_struct(field.type) and field.type.get_field_index("path") >= 0:
        return f"{field.name}.path"
    return field.name


def _rows(parquet: pq.ParquetFile, columns: Sequence[str]) -> Iterator[IndexRow]:
    first = 1
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        try:
            table = parquet.read_row_group(group, columns=list(columns), use_threads=False)
        except _ERRORS as error:
            problem = f"row group {group} is not readable: {_line(error)}"
            yield IndexRow(f"rows {first} to {first + count - 1}", problem=problem)
        else:
            values = {
                name.strip().lower(): _values(table.column(index))
                for index, name in enumerate(table.column_names)
            }
            for row in range(table.num_rows):
                cells = {key: column[row] for key, column in values.items()}
                yield IndexRow(f"row {first + row}", cells)
        first += count


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return column.to_pylist()
    except _ERRORS:
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except _ERRORS:
        return UnreadableCell()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
