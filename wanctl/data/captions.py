"""Captions of a data set's clips: which caption table counts for which clip."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wanctl.data.dataset import DatasetDir
from wanctl.data.sidecars.texts import clean
from wanctl.data.table_order import name_of, tables_newest_first


class ClipCaption(NamedTuple):
    """One caption of a clip."""

    text: str
    variant: str
    backend: str


def read_captions(
    dataset: DatasetDir, backends: Sequence[str], ids: Iterable[str] | None = None
) -> dict[str, list[ClipCaption]]:
    """All captions of each clip, from the first backend that captioned it.

    White space and byte order marks at the ends of a caption are dropped; one of white space alone
    is none. A backend whose settings changed leaves its older table in place; the table that
    `wanctl caption` last worked on counts (see table_order.py).

    Args:
        dataset: where the tables are.
        backends: the recipe's `caption.backends`; tables of others come after theirs.
        ids: only these clips.
    """

    def rank(table: str) -> int:
        backend = name_of(table)
        return backends.index(backend) if backend in backends else len(backends)

    requested = None if ids is None else set(ids)
    captions: dict[str, list[ClipCaption]] = {}
    # a stable sort: within one backend the newest table stays first
    for table in sorted(tables_newest_first(dataset, "captions"), key=rank):
        new: dict[str, list[ClipCaption]] = {}
        for row in dataset.read(table, ["id", "text", "variant"]).to_pylist():
            clip = row["id"]
            if clip in captions or not row["text"] or not (text := clean(row["text"])):
                continue
            if requested is None or clip in requested:
                caption = ClipCaption(text, row["variant"] or "default", name_of(table))
                new.setdefault(clip, []).append(caption)
        captions |= new
    return captions
