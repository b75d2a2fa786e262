"""The rows of an index file: CSV in any of four delimiters, JSON, or JSON lines.

A row that cannot be read is kept as a row with a problem, and reading goes on behind it. Only LF,
CR LF and CR end a line: captions of models contain U+2028 and NEL.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanctl.data.sidecars.texts import CAPTION_BYTES, CAPTION_KEYS, clean
from wanctl.exchange.external.clips import MEDIA_SUFFIXES, LayoutError
from wanctl.textfiles import TextError, parse_json, read_text, split_lines

INDEX_BYTES = 2 << 30
"""A larger index is refused."""
PATH_KEYS = (
    "video", "video_path", "video_file", "file_name", "path", "image", "image_path", "file_path",
    "filename", "media_path", "clip_path", "file",
)  # fmt: skip
DELIMITERS = (",", ";", "\t", "|")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True)
class IndexRow:
    """One row of an index.

    Attributes:
        place: `row 3` or `line 3`, counted from 1.
        values: column or key -> value; empty where the row cannot be read.
        problem: why it cannot be read.
        notes: what may be wrong with it.
    """

    place: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    notes: Sequence[str] = ()


def read_rows(path: Path) -> list[IndexRow]:
    """The rows of a .csv, .tsv, .json, .jsonl or .ndjson file.

    Raises:
        LayoutError: the file cannot be read, or has no rows of clips.
    """
    try:
        text = read_text(path, INDEX_BYTES)
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: no such file") from error
    except TextError as error:
        raise LayoutError(str(error)) from error
    if path.suffix.lower() in (".csv", ".tsv"):
        return csv_rows(text, path)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _json_lines(text, path)
    return _json_rows(text, path)


def no_path_column(path: Path, columns: Sequence[str]) -> LayoutError:
    """The error of an index without a column of files."""
    has = f"; it has {', '.join(map(str, columns[:10]))}" if columns else ""
    return LayoutError(
        f"{path}: not readable: row 1: none of the columns {', '.join(PATH_KEYS)}{has}"
    )


def csv_rows(text: str, path: Path) -> list[IndexRow]:
    """The rows of a CSV text with a header; its delimiter is the one that fits the header.

    A quote that is never closed, or closed in the middle of a cell, costs the row in which it
    begins; without `strict` it would swallow all rows up to the next quote.
    """
    lines = _LINE.findall(text)
    start = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines and (stated := re.fullmatch(r"sep=(.)\s*", lines[start])):  # written by Excel
        delimiters, start = (stated[1],), start + 1
    else:
        delimiters = DELIMITERS
    with _long_fields():
        delimiter, header, start = _header(lines, start, delimiters, path)
        rows = []
        for number, cells, problem in _records(lines, start, delimiter):
            rows.append(_csv_row(f"line {number}", header, cells, problem, delimiter))
    used = (*PATH_KEYS, *CAPTION_KEYS)
    repeated = sorted({name for name in header if name in used and header.count(name) > 1})
    if repeated:
        raise LayoutError(f"{path}: the column {repeated[0]!r} comes twice; name each column once")
    return rows


def _header(
    lines: Sequence[str], start: int, delimiters: Sequence[str], path: Path
) -> tuple[str, list[str], int]:
    """(delimiter, names of the columns in lower case, index of the line behind the header)."""
    first: list[str] = []
    for delimiter in delimiters:
        try:
            reader = csv.reader(iter(lines[start : start + 100]), delimiter=delimiter, strict=True)
            cells = [cell.strip().lower() for cell in next(reader, [])]
        except csv.Error:
            continue
        if any(cell in PATH_KEYS for cell in cells):
            return delimiter, cells, start + reader.line_num
        first = first or cells
    raise no_path_column(path, first)


class _Lines:
    """Iterates over lines from a position that may be set back."""

    def __init__(self, lines: Sequence[str], at: int) -> None:
        self._lines = lines
        self.at = at

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.at >= len(self._lines):
            raise StopIteration
        self.at += 1
        return self._lines[self.at - 1]


def _records(
    lines: Sequence[str], start: int, delimiter: str
) -> Iterator[tuple[int, list[str], str]]:
    """Yields (number of its first line, cells, why it cannot be read) of every record."""
    source = _Lines(lines, start)
    while source.at < len(lines):
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        first = source.at
        try:
            for cells in reader:
                if cells:
                    yield first + 1, cells, ""
                first = source.at
        except csv.Error as error:
            why = str(error).replace("unexpected end of data", "a quote is not closed")
            yield first + 1, [], f"not CSV: {why}"
            source.at = first + 1


def _csv_row(
    place: str, header: Sequence[str], cells: Sequence[str], problem: str, delimiter: str
) -> IndexRow:
    if problem:
        return IndexRow(place, problem=problem)
    if len(cells) > len(header):
        problem = f"{len(cells)} cells under a header of {len(header)}; put the caption into quotes"
        return IndexRow(place, problem=problem)
    notes = []
    if len(cells) < len(header):
        notes.append(f"{len(cells)} cells under a header of {len(header)}")
    for cell in cells:
        starts = [line.partition(delimiter)[0].strip().lower() for line in split_lines(cell)[1:]]
        if any(each.endswith(tuple(MEDIA_SUFFIXES)) for each in starts):
            notes.append("a cell holds lines that look like rows; is a quote missing?")
    return IndexRow(place, dict(zip(header, cells, strict=False)), notes=notes)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let csv read cells as long as a caption may be; its limit is of the whole process."""
    before = csv.field_size_limit(CAPTION_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json_lines(text: str, path: Path) -> list[IndexRow]:
    if text.lstrip().startswith("["):  # a list that is called .jsonl
        return _json_rows(text, path)
    rows = []
    for number, line in enumerate(split_lines(text), 1):
        if line := clean(line):  # files that were joined have marks in the middle
            try:
                value = parse_json(line, path.name)
            except TextError as error:
                problem = str(error).removeprefix(f"{path.name}: ")
                rows.append(IndexRow(f"line {number}", problem=problem))
            else:
                rows.append(_object_row(f"line {number}", value))
    return rows


def _json_rows(text: str, path: Path) -> list[IndexRow]:
    try:
        data = parse_json(text, str(path))
    except TextError as error:
        if text.lstrip().startswith("{") and len(split_lines(text.strip())) > 1:
            rows = _json_lines(text, path)  # lines that are called .json
            if not rows[0].problem:
                return rows
        raise LayoutError(str(error)) from error
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        if isinstance(data.get("data"), list):
            data = data["data"]
        elif any(str(name).lower().endswith(tuple(MEDIA_SUFFIXES)) for name in data):
            return [_named_row(name, value) for name, value in data.items()]
        elif len(lists) == 1:
            data = lists[0]
    if not isinstance(data, list):
        raise LayoutError(f"{path}: not readable: need a list of objects, one per clip")
    return [_object_row(f"row {number}", value) for number, value in enumerate(data, 1)]


def _object_row(place: str, value: Any) -> IndexRow:
    if not isinstance(value, dict):
        got = str(value)[:40] if isinstance(value, str | int | float) else type(value).__name__
        return IndexRow(place, problem=f"got {got!r}, need an object")
    return IndexRow(place, value)


def _named_row(name: str, value: Any) -> IndexRow:
    """A row of an object that maps names of files to captions or to facts."""
    if not name.lower().endswith(tuple(MEDIA_SUFFIXES)):
        return IndexRow(f"key {name!r}", problem="is no video or image")
    values = value if isinstance(value, dict) else {"cap": value}
    return IndexRow(f"key {name!r}", {**values, "path": name})
