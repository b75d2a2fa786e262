"""Prints rows: a table on a terminal, tab-separated lines in a pipe, JSON on request."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wanctl.escaping import one_line


def print_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    headers: bool = False,
) -> None:
    """Print rows on stdout.

    Args:
        columns: headers; in a pipe they are printed only with `headers`.
        rows: each with as many cells as there are columns. Control characters are written as
            escapes, so that a row is a line whatever its cells hold.
        title: printed above; in a pipe it begins every line instead, so that `grep` keeps it.
        headers: the rows are figures, which mean nothing without headers.
    """
    if not sys.stdout.isatty():
        lead = [title] if title else []
        for row in chain([columns] if headers else [], rows):
            line = "\t".join(one_line(cell) for cell in (*lead, *row))
            with naming_output():
                sys.stdout.write(f"{line}\n")
        return
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold", header_style="dim")
    for row in rows:
        table.add_row(*(Text(one_line(cell), style=_style(cell)) for cell in row))
    Console().print(table, "", sep="\n")


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout, ASCII only."""
    text = json.dumps(value, indent=1, default=str)
    with naming_output():
        sys.stdout.write(f"{text}\n")


@contextmanager
def naming_output() -> Iterator[None]:
    """Name the standard output in errors of writing to it: the operating system does not.

    Raises:
        OSError: its `filename` is set.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Mapping[str, Any]]:
    """Rows as objects for `print_json`; blanks in the names of columns become `_`."""
    names = [column.replace(" ", "_") for column in columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _style(cell: str) -> str:
    return {"yes": "green", "no": "red"}.get(cell, "")
