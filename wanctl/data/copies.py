"""Which rows of the clips table are copies: the same footage lies in several source files."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def shared_content(parts: Iterable[tuple[str, pa.Table]]) -> dict[str, set[str | None]]:
    """Part -> contents there that more than one source file holds: only these have copies.

    Args:
        parts: name of each part and its columns `content_hash` and `source`, dictionary-coded.
    """
    holders: dict[str | None, set[tuple[str, str | None]]] = {}
    for part, table in parts:
        for content, source in _pairs(table):
            holders.setdefault(content, set()).add((part, source))
    shared: dict[str, set[str | None]] = {}
    for content, places in holders.items():
        for part, _ in places if len(places) > 1 else ():
            shared.setdefault(part, set()).add(content)
    return shared


def new_rows(
    table: pa.Table, shared: set[str | None], known: set[str], removed: Collection[str] = ()
) -> np.ndarray | None:
    """Rows whose clip is not in `known`; their ids are added to it. None stands for all rows.

    Args:
        table: columns `id` and `content_hash` of one part.
        shared: contents that have copies somewhere.
        known: ids of earlier parts.
        removed: sources whose rows count as if they were not there; they need the column `source`.
    """
    names, contents = table["id"].to_pylist(), table["content_hash"].to_pylist()
    sources = table["source"].to_pylist() if removed else [None] * len(names)
    is_new = np.ones(len(names), dtype=bool)
    for row, (name, content) in enumerate(zip(names, contents, strict=True)):
        if sources[row] in removed:
            is_new[row] = False
        elif content in shared:
            is_new[row] = name not in known
            known.add(name)
    return None if is_new.all() else np.flatnonzero(is_new)


def _pairs(table: pa.Table) -> set[tuple[str | None, ...]]:
    """Distinct rows of dictionary-coded text columns."""
    columns = [table[name].unify_dictionaries() for name in table.column_names]
    chunks = zip(*(column.chunks for column in columns), strict=True)
    return {pair for each in chunks for pair in _distinct(each)}


def _distinct(columns: Sequence[Any]) -> list[tuple[str | None, ...]]:
    # the index after the last one stands for null
    texts = [[*column.dictionary.to_pylist(), None] for column in columns]
    sizes = [len(each) for each in texts]
    codes = [column.indices.fill_null(len(column.dictionary)).to_numpy() for column in columns]
    # hashing one number per row is much faster than sorting rows
    rows = pa.array(np.ravel_multi_index(codes, sizes)).unique().to_numpy()
    picks = zip(*(each.tolist() for each in np.unravel_index(rows, sizes)), strict=True)
    return [tuple(text[code] for text, code in zip(texts, row, strict=True)) for row in picks]
