"""The captioners of a data set, and the clips that a labelled file names."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from wanctl.caption.evaluation.labelled.free_text import structure_from_text
from wanctl.caption.evaluation.labelled.labels import LabelledClip, LabelsError
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import name_of, tables_newest_first
from wanctl.errors import UserError, unknown
from wanctl.log import log

_ERRORS_SHOWN = 5

Structure = Mapping[str, Any]


@dataclass(frozen=True)
class Captioner:
    """A captioner whose answers are in a table.

    Attributes:
        name: NAME@KEY of its table.
        source: `structures` or `captions`.
        model: that answered; "" for captions.
        structure: of a labelled clip with this id; None where the captioner has nothing.
    """

    name: str
    source: str
    model: str
    structure: Callable[[LabelledClip, str], Structure | None]


def find_captioners(
    dataset: DatasetDir, names: Sequence[str], clips: Sequence[str]
) -> list[Captioner]:
    """Captioners with structures, then those with captions alone.

    Args:
        dataset: the data set.
        names: NAME@KEY, or NAME for all tables of a captioner; empty: all there are. Empty tables
            are passed over, unless they are named.
        clips: ids of the labelled clips; nothing else is kept in memory.

    Raises:
        UserError: no such table, a named one is empty, or there is none with rows.
    """
    structures = tables_newest_first(dataset, "structures")
    written = {name_of(table) for table in structures}
    captions = [t for t in tables_newest_first(dataset, "captions") if name_of(t) not in written]
    tables = [*structures, *captions]
    known = {each for table in tables for each in (name_of(table), table.split("/", 1)[1])}
    for name in names:
        if name not in known:
            raise UserError(f"{dataset.path}: {unknown('captioner', name, known)}")
    if names:
        tables = [t for t in tables if name_of(t) in names or t.split("/", 1)[1] in names]
    found = []
    for table in tables:
        captioner = _open(dataset, table, clips)
        if captioner:
            found.append(captioner)
        elif table.split("/", 1)[1] in names or name_of(table) in names:
            raise UserError(f"{dataset.path / table}: holds no row; run `wanctl caption`")
        else:
            log.info("%s holds no row; it is left out", table)
    if not found:
        raise UserError(f"{dataset.path}: no clip is captioned; run `wanctl caption` first")
    return found


def resolve_clips(dataset: DatasetDir, labels: Sequence[LabelledClip]) -> list[str]:
    """The clip's id of each label.

    Raises:
        LabelsError: no clip, or several, have a label's id or file name; every such label is named.
    """
    table = dataset.clips(["id", "source", "shot"])
    ids = set(table["id"].to_pylist())
    wanted = {PurePath(label.clip).name for label in labels}
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for clip, source, shot in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if (name := PurePath(source).name) in wanted:
            row = {"id": clip, "source": source, "shot": shot}
            by_name.setdefault(name, []).append(row)
    found, errors = [], []
    for label in labels:
        if label.clip in ids:
            found.append(label.clip)
            continue
        parts = PurePath(label.clip).parts
        several = [
            row
            for row in by_name.get(parts[-1] if parts else "", ())
            if PurePath(row["source"]).parts[-len(parts) :] == parts
            and label.shot in (None, row["shot"])
        ]
        if len(several) == 1:
            found.append(several[0]["id"])
        elif several:
            errors.append(
                f"{label.where}: {label.clip!r} is {len(several)} clips; write more of its path, "
                'the clip\'s id, or "shot": N'
            )
        else:
            shot = "" if label.shot is None else f", shot {label.shot}"
            errors.append(f"{label.where}: no clip {label.clip!r}{shot} in {dataset.path}")
    if errors:
        more = len(errors) - _ERRORS_SHOWN
        raise LabelsError(*errors[:_ERRORS_SHOWN], *([f"and {more} more"] if more > 0 else []))
    twice = [clip for clip, count in Counter(found).items() if count > 1]
    if twice:
        where = [label.where for label, clip in zip(labels, found, strict=True) if clip == twice[0]]
        raise LabelsError(f"{', '.join(where)}: are labels of the same clip; write one line for it")
    return found


def _open(dataset: DatasetDir, table: str, clips: Sequence[str]) -> Captioner | None:
    """A captioner's answers; None where its table is empty."""
    source, name = table.split("/", 1)
    stored = dataset.read(table)
    if not len(stored):
        return None
    wanted = set(clips)
    rows = stored.filter(
        pa.array([each in wanted for each in stored["id"].to_pylist()])
    ).to_pylist()
    if source == "captions":
        texts = _longest(rows)
        return Captioner(
            name, source, "",
            lambda label, clip: structure_from_text(label, texts[clip]) if clip in texts else None,
        )  # fmt: skip
    structures = {row["id"]: row["structure"] for row in rows}
    return Captioner(
        name, source, stored["model"][0].as_py() or "",
        lambda _, clip: json.loads(structures[clip]) if clip in structures else None,
    )  # fmt: skip


def _longest(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The longest caption of each clip: it says most."""
    texts: dict[str, str] = {}
    for row in rows:
        if len(row["text"] or "") > len(texts.get(row["id"], "")):
            texts[row["id"]] = row["text"]
    return texts
