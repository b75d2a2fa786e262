"""`wanctl filters label`: clips for people to mark, as CSV and as a page that plays them.

The page is one file: it needs no server and sends nothing anywhere. Marks stay in the browser
until they are saved as CSV.
"""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wanctl.atomic import write_bytes
from wanctl.curate.columns import ClipBatch, Verdicts
from wanctl.errors import UserError
from wanctl.labels.trainable import COLUMNS, Trainee, open_trainee, read_sheet
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.video.decode import read_clip
from wanctl.video.frames import FrameSpec
from wanctl.video.worker_pool import DecodePool, Failure

FOLDER = "labels"
# The report's pictures are too small to judge quality by: softness would be theirs.
STRIP = FrameSpec(count=8, long_side_px=512)
WEBP_QUALITY = 80
# Below this many clips a head learns little, however few classes there are to draw from.
LEAST = 100


def label(loaded: LoadedRecipe, out: Path, name: str, each: int) -> Path:
    """Write `out/labels/NAME.csv` and `NAME.html`; marks in an earlier sheet are kept.

    Args:
        loaded: the recipe.
        out: the run folder.
        name: of the filter.
        each: clips from every class that the filter sorts into; more where there are few classes.
    """
    trainee = open_trainee(loaded, out, name)
    sheet = out / FOLDER / f"{name}.csv"
    choices = trainee.named.filter.choices()
    marks = read_sheet(sheet, choices) if sheet.exists() else {}
    rows = _rows(trainee, each, marks)
    if not rows:
        raise UserError(f"{trainee.dataset.path}: no clip is left to label")
    write_bytes(sheet, _as_csv(rows).encode())
    section = loaded.recipe.curate.decode
    with DecodePool(section.workers, section.timeout_s, int(section.memory_gb * 2**30)) as pool:
        wanted = {row["id"] for row in rows}
        clips = [clip for clip in trainee.dataset.clips().to_pylist() if clip["id"] in wanted]
        strips = collect_strips(clips, pool)
    page = sheet.with_suffix(".html")
    write_bytes(page, sheet_page(name, choices, rows, strips).encode())
    log.info("%d clips in %s; mark them there, or in %s", len(rows), page, sheet.name)
    return page


def _rows(trainee: Trainee, each: int, marks: Mapping[str, str]) -> list[dict[str, Any]]:
    verdicts = _sorted(trainee)
    batch = trainee.batch
    classes = verdicts.label
    if classes is None:
        classes = np.full(len(batch), None, dtype=object)
    picked = pick(batch, classes, each, marks)
    clips = batch.clips.take(picked).to_pylist()
    return [
        {
            "id": clip["id"],
            "label": marks.get(clip["id"], ""),
            "class": classes[row] or "",
            "score": _shown(verdicts, int(row)),
            "source": clip["source"],
            "start_s": round(clip["start_s"], 3),
            "end_s": round(clip["end_s"], 3),
        }
        for row, clip in zip(picked, clips, strict=True)
    ]


def _sorted(trainee: Trainee) -> Verdicts:
    """What the filter makes of the clips; nothing where it needs labels for that."""
    try:
        return trainee.named.filter.decide_many(trainee.batch)
    except UserError as error:
        log.info("%s; the clips are drawn at random", error)
        return Verdicts(np.ones(len(trainee.batch), dtype=bool), lambda _: "")


def pick(batch: ClipBatch, classes: np.ndarray, each: int, marked: Mapping[str, str]) -> np.ndarray:
    """Rows for the sheet: from every class alike, from many sources, what is marked in any case.

    Clips that earlier filters drop are left out. The order is that of classes and ids, which are
    hashes, so that a draw is random and yet always the same.
    """
    alive = np.ones(len(batch), dtype=bool)
    for verdicts in batch.verdicts.values():
        alive &= np.asarray(verdicts.keep, dtype=bool)
    ids, sources = batch.clips["id"].to_pylist(), batch.clips["source"].to_pylist()
    names = sorted({name or "" for name in classes[alive]})
    each = max(each, -(-LEAST // max(len(names), 1)))
    found: list[int] = []
    for name in names:
        rows = [row for row in np.flatnonzero(alive) if (classes[row] or "") == name]
        seen: dict[str, int] = {}
        turns = []
        for row in sorted(rows, key=lambda row: ids[row]):
            seen[sources[row]] = seen.get(sources[row], 0) + 1
            turns.append((seen[sources[row]], ids[row], row))
        found += [row for _, _, row in sorted(turns)[:each]]
    more = [row for row in range(len(ids)) if ids[row] in marked and row not in set(found)]
    return np.array(found + more, dtype=np.int64)


def make_strip(source: str, start_pts: int, end_pts: int, width: int, height: int) -> bytes:
    """WebP of a clip's frames side by side, as the page plays them. Runs in a decode worker."""
    (batch,) = read_clip(source, start_pts, end_pts, [STRIP], width, height)
    return encode_strip(batch.frames)


def encode_strip(frames: np.ndarray) -> bytes:
    """(N, H, W, 3) uint8 to a strip of eight; fewer ones are each shown for longer."""
    assert STRIP.count
    take = np.arange(STRIP.count) * len(frames) // STRIP.count
    buffer = io.BytesIO()
    Image.fromarray(np.hstack(list(frames[take]))).save(buffer, "WEBP", quality=WEBP_QUALITY)
    return buffer.getvalue()


def collect_strips(clips: Sequence[Mapping[str, Any]], pool: DecodePool) -> dict[str, bytes]:
    """Clip id -> strip; clips that cannot be decoded have none."""
    keys = ("source", "start_pts", "end_pts", "width", "height")
    found = {}
    with progress(len(clips), "pictures for the page") as bar:
        tasks = (tuple(clip[key] for key in keys) for clip in clips)
        for index, result in pool.map(make_strip, tasks, ordered=False):
            if not isinstance(result, Failure):
                found[clips[index]["id"]] = result
            bar.advance()
    return found


def _shown(verdicts: Verdicts, row: int) -> str:
    if verdicts.score is None or np.isnan(verdicts.score[row]):
        return ""
    return f"{verdicts.score[row]:.4g}"


def _as_csv(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def sheet_page(
    name: str,
    choices: Mapping[str, str],
    rows: list[dict[str, Any]],
    strips: Mapping[str, bytes],
) -> str:
    """The page as text: marks by keys, kept in the browser, saved as the same CSV."""
    clips = [
        {**row, "picture": base64.b64encode(strips.get(row["id"], b"")).decode()} for row in rows
    ]
    data = {
        "filter": name,
        "choices": choices,
        "columns": COLUMNS,
        "frames": STRIP.count,
        "clips": clips,
    }
    # "</script>" in a file name would end the script
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    template = files("wanctl.labels").joinpath("label.html").read_text(encoding="utf-8")
    return template.replace("/*DATA*/null", text)
