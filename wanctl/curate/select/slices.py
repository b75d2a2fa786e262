"""A data set in slices: runs of whole parts that are decided at once, each in a process."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from wanctl.curate.columns import CLIP_COLUMNS
from wanctl.data.dataset import DatasetDir

ROWS = 1 << 17
"""Clips of a slice, about: enough that a step over columns costs more than starting it."""


@dataclass(frozen=True)
class Slice:
    """Some parts of a data set.

    Attributes:
        number: its place among the slices.
        parts: (part, its rows that are no copies of earlier clips; None for all).
        rows: clips in it, copies included.
        copies: of them copies.
    """

    number: int
    parts: tuple[tuple[str, np.ndarray | None], ...]
    rows: int
    copies: int

    @property
    def names(self) -> list[str]:
        """The parts' names."""
        return [name for name, _ in self.parts]

    def clips(self, dataset: DatasetDir) -> pa.Table:
        """Its clips, in order, with the columns that filters may ask for; sources are coded."""
        tables = []
        for part, rows in self.parts:
            table = dataset.read("clips", CLIP_COLUMNS, parts=[part], coded=["source"])
            tables.append(table if rows is None else table.take(rows))
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def slices_of(dataset: DatasetDir, rows: int = ROWS) -> list[Slice]:
    """All parts in order, in slices of about `rows` clips."""
    slices: list[Slice] = []
    parts: list[tuple[str, np.ndarray | None]] = []
    count = copies = 0
    for part, first in dataset.first_rows():
        parts.append((part, first))
        mine = dataset.count("clips", part)
        count += mine
        copies += 0 if first is None else mine - len(first)
        if count >= rows:
            slices.append(Slice(len(slices), tuple(parts), count, copies))
            parts, count, copies = [], 0, 0
    return [*slices, Slice(len(slices), tuple(parts), count, copies)] if parts else slices
