"""Prints rows: a table on a terminal, tab-separated lines in a pipe."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print rows on stdout.

    Args:
        columns: headers; printed on terminals only.
        rows: each with as many cells as there are columns.
        title: printed above; in a pipe it begins every line instead, so that `grep` keeps it.
    """
    if not sys.stdout.isatty():
        lead = [title] if title else []
        for row in rows:
            sys.stdout.write("\t".join([*lead, *row]) + "\n")
        return
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold", header_style="dim")
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    Console().print(table, "", sep="\n")


def _style(cell: str) -> str:
    return {"yes": "green", "no": "red"}.get(cell, "")
