"""The CSV sheet of clips to label: which clips it holds, and how it is read and written."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.curate.columns import ClipBatch, Verdicts
from wanctl.errors import UserError
from wanctl.escaping import csv_cell
from wanctl.labels.trainable import TrainableFilter
from wanctl.log import log
from wanctl.textfiles import read_text

COLUMNS: tuple[str, ...] = ("id", "label", "class", "score", "source", "start_s", "end_s")
# A head learns little from fewer clips, however few classes there are.
MIN_CLIPS = 100


def read_sheet(path: Path, choices: Mapping[str, str]) -> dict[str, str]:
    """Clip id -> label, of the rows that have one.

    Raises:
        UserError: no such file, no such columns, or an unknown label, with its line.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        rows = list(reader)
        columns = reader.fieldnames or []
    except FileNotFoundError:
        raise UserError(f"{path}: no such sheet; `wanctl filters label` writes one") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a readable sheet of labels: {error}") from error
    if not {"id", "label"} <= set(columns):
        raise UserError(f"{path}: wants the columns id and label, has {', '.join(columns) or '-'}")
    labels = {}
    for number, row in enumerate(rows, start=2):
        label = (row["label"] or "").strip()
        if not label:
            continue
        if label not in choices:
            raise UserError(
                f"{path}:{number}: label {label!r} is none of {', '.join(choices)}; "
                "leave it empty to skip the clip"
            )
        labels[row["id"]] = label
    return labels


def sheet_rows(
    trainable: TrainableFilter, clips_per_class: int, labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The rows of the sheet, one mapping of COLUMNS each.

    Args:
        trainable: the filter and its clips.
        clips_per_class: clips from every class of the filter; more where there are few classes.
        labels: clip id -> label, of an earlier sheet; these clips are included.
    """
    verdicts = _verdicts(trainable)
    batch = trainable.batch
    classes = verdicts.label
    if classes is None:
        classes = np.full(len(batch), None, dtype=object)
    picked = pick(batch, classes, clips_per_class, labels)
    clips = batch.clips.take(picked).to_pylist()
    return [
        {
            "id": clip["id"],
            "label": labels.get(clip["id"], ""),
            "class": classes[row] or "",
            "score": _format_score(verdicts, int(row)),
            "source": clip["source"],
            "start_s": round(clip["start_s"], 3),
            "end_s": round(clip["end_s"], 3),
        }
        for row, clip in zip(picked, clips, strict=True)
    ]


def pick(
    batch: ClipBatch, classes: np.ndarray, clips_per_class: int, labels: Mapping[str, str]
) -> np.ndarray:
    """Rows for the sheet: equally many of every class, from many sources, and all labelled ones.

    Clips that earlier filters drop are left out. Rows are in the order of classes and ids; ids are
    hashes, so that the choice is random and yet the same in every run.
    """
    alive = np.ones(len(batch), dtype=bool)
    for verdicts in batch.verdicts.values():
        alive &= np.asarray(verdicts.keep, dtype=bool)
    ids, sources = batch.clips["id"].to_pylist(), batch.clips["source"].to_pylist()
    names = sorted({name or "" for name in classes[alive]})
    clips_per_class = max(clips_per_class, -(-MIN_CLIPS // max(len(names), 1)))
    picked: list[int] = []
    for name in names:
        rows = [row for row in np.flatnonzero(alive) if (classes[row] or "") == name]
        seen: dict[str, int] = {}
        # the first clip of every source, then the second of every source, and so on
        order = []
        for row in sorted(rows, key=lambda row: ids[row]):
            seen[sources[row]] = seen.get(sources[row], 0) + 1
            order.append((seen[sources[row]], ids[row], row))
        picked += [row for _, _, row in sorted(order)[:clips_per_class]]
    more = [row for row in range(len(ids)) if ids[row] in labels and row not in set(picked)]
    return np.array(picked + more, dtype=np.int64)


def as_csv(rows: list[dict[str, Any]]) -> str:
    """The sheet as CSV text."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def _verdicts(trainable: TrainableFilter) -> Verdicts:
    """The filter's verdicts; without class and score where it needs labels for them."""
    try:
        return trainable.named.filter.decide_many(trainable.batch)
    except UserError as error:
        log.info("%s; clips are chosen at random", error)
        return Verdicts(np.ones(len(trainable.batch), dtype=bool), lambda _: "")


def _format_score(verdicts: Verdicts, row: int) -> str:
    if verdicts.score is None or np.isnan(verdicts.score[row]):
        return ""
    return f"{verdicts.score[row]:.4g}"
