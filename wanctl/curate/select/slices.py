"""Slices of a data set: consecutive parts that one process decides at once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from wanctl.curate.columns import CLIP_COLUMNS
from wanctl.data.dataset import DatasetDir

ROWS = 1 << 17
"""Approximate clips of a slice: enough that the overhead of a column operation is small."""


@dataclass(frozen=True)
class Slice:
    """Consecutive parts of a data set.

    Attributes:
        number: index of the slice.
        parts: (part, its rows that are no copies of earlier clips; None for all).
        rows: number of clips, copies included.
        copies: number of copies among them.
    """

    number: int
    parts: tuple[tuple[str, np.ndarray | None], ...]
    rows: int
    copies: int

    @property
    def names(self) -> list[str]:
        """Names of the parts."""
        return [name for name, _ in self.parts]

    def clips(self, dataset: DatasetDir) -> pa.Table:
        """The clips in order, with the columns of `Clip`; sources are dictionary-encoded."""
        tables = []
        for part, rows in self.parts:
            table = dataset.read("clips", CLIP_COLUMNS, parts=[part], coded=["source"])
            tables.append(table if rows is None else table.take(rows))
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def slices_of(dataset: DatasetDir, rows: int = ROWS) -> list[Slice]:
    """Divide all parts, in order, into slices of about `rows` clips."""
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
