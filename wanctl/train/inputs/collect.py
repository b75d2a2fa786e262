"""From a data set directory to the footage of one training run.

Every kept clip either serves a bucket or is named with the reason why not: nothing is dropped in
silence. Clips are exported once per frame size into `DATASET/training/` and read from there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wanctl.data.buckets import (
    BucketLike,
    ClipShape,
    clip_buckets,
    holdout,
    why_no_bucket,
)
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ClipFile, ExportFormat, export_clips
from wanctl.errors import UserError
from wanctl.log import log, progress
from wanctl.train.inputs.clipset import ClipSet, TrainingClip
from wanctl.video.decode import frames_at
from wanctl.video.worker_pool import DecodePool

# Near lossless: the VAE should learn footage, not the artefacts of a second encoding.
TRAINING_CRF = 10
REASONS_SHOWN = 5


class ClipsError(UserError):
    """The data set has nothing to train on; says which command makes it."""


@dataclass(frozen=True)
class TrainingDataOptions:
    """What a run asks of a data set.

    Attributes:
        selection: name of the selection.
        buckets: training shapes.
        fps: clips are resampled to this.
        holdout: share of clips kept from training.
        seed: of the batches.
        windows_per_clip: train on this many evenly spaced windows of each clip; None: on any.
    """

    selection: str
    buckets: Sequence[BucketLike]
    fps: float
    holdout: float
    seed: int
    windows_per_clip: int | None


def collect_clips(
    dataset: DatasetDir,
    wanted: TrainingDataOptions,
    *,
    pool: DecodePool,
    command_options: str,
    only: Iterable[str] | None = None,
) -> ClipSet:
    """Find the clips that serve a bucket, export them and plan the batches.

    Args:
        dataset: with a selection.
        wanted: selection, shapes, frame rate.
        pool: decodes the footage.
        command_options: options every printed command needs, e.g. `--recipe tiny`.
        only: leave all other clips out (those without a caption, say).

    Raises:
        ClipsError: no clip was kept, or none serves a bucket.
        DatasetError: there is no such selection.
    """
    rows = _kept(dataset, wanted.selection, command_options)
    if only is not None:
        allowed = set(only)
        rows = [row for row in rows if row["id"] in allowed]
    serving, served = _serving(rows, wanted)
    if not serving:
        raise ClipsError(
            f"{dataset.path}: none of the {len(rows)} clips serves a bucket (reasons above); "
            "add a smaller or shorter bucket to the recipe"
        )
    files = _export(dataset, wanted, served, pool)
    members = [_member(row, wanted, files) for row in serving]
    members = [member for member in members if member is not None]
    if not members:
        raise ClipsError(f"{dataset.path}: no clip could be exported (reasons above)")
    held = holdout([m.id for m in members], [m.footage for m in members], wanted.holdout)
    clips = ClipSet(members, held, wanted.buckets, wanted.seed, wanted.windows_per_clip)
    for line in clips.describe():
        log.info(line)
    return clips


def _kept(dataset: DatasetDir, selection: str, command_options: str) -> list[dict[str, Any]]:
    table = f"selections/{selection}"
    if not dataset.has_part(table, ""):
        raise ClipsError(
            f"{dataset.path}: no selection named {selection!r}; "
            f"`wanctl data select {command_options}` makes it"
        )
    verdicts = {row["id"]: row for row in dataset.read(table).to_pylist() if row["kept"]}
    rows = dataset.clips().to_pylist()
    kept = [{**row, **verdicts[row["id"]]} for row in rows if row["id"] in verdicts]
    if not kept:
        raise ClipsError(
            f"{dataset.path}: selection {selection!r} keeps none of {len(rows)} clips; look at "
            f"report.html there, loosen a filter, then `wanctl data select {command_options}`"
        )
    return kept


def _shape(row: Mapping[str, Any], fps: float) -> ClipShape:
    """Frames at the training rate and pixels after the crop."""
    tick_s = row["time_base_num"] / row["time_base_den"]
    frames = frames_at(fps, (row["end_pts"] - row["start_pts"]) * tick_s)
    cropped = bool(row["crop_w"])
    height = row["crop_h"] if cropped else row["height"]
    width = row["crop_w"] if cropped else row["width"]
    weight = 1.0 if row["weight"] is None else row["weight"]
    return ClipShape(frames, height, width, weight)


def _serving(
    rows: Sequence[dict[str, Any]], wanted: TrainingDataOptions
) -> tuple[list[dict[str, Any]], dict[tuple[int, int], list[str]]]:
    """Rows that serve a bucket, and the clip ids per frame size; names the others."""
    serving, reasons = [], []
    served: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        shape = _shape(row, wanted.fps)
        size = (shape.num_frames, shape.height, shape.width)
        indices = clip_buckets(wanted.buckets, *size)
        if not indices:
            reasons.append(f"{row['id']}: {why_no_bucket(wanted.buckets, *size)}")
            continue
        serving.append(row)
        for height, width in {(wanted.buckets[i].height, wanted.buckets[i].width) for i in indices}:
            served.setdefault((height, width), []).append(row["id"])
    for reason in reasons[:REASONS_SHOWN]:
        log.warning("clip %s", reason)
    if reasons:
        log.warning("%d of %d clips serve no bucket", len(reasons), len(rows))
    return serving, served


def _export(
    dataset: DatasetDir,
    wanted: TrainingDataOptions,
    served: Mapping[tuple[int, int], Sequence[str]],
    pool: DecodePool,
) -> dict[tuple[int, int], dict[str, ClipFile]]:
    """Files by frame size and clip id."""
    files = {}  # one folder per size, so that another run with this size finds them done
    with progress(sum(map(len, served.values())), "clips to training size") as bar:
        for (height, width), ids in sorted(served.items()):
            form = ExportFormat(wanted.fps, height, width, crf=TRAINING_CRF)
            folder = dataset.path / "training" / f"{wanted.fps:g}fps-{width}x{height}"
            exported = export_clips(
                dataset, wanted.selection, folder, form=form, pool=pool, ids=ids, progress=bar
            )
            files[height, width] = {file.id: file for file in exported}
    return files


def _member(
    row: Mapping[str, Any],
    wanted: TrainingDataOptions,
    files: Mapping[tuple[int, int], Mapping[str, ClipFile]],
) -> TrainingClip | None:
    """A clip with its files; None where one of them could not be made."""
    shape = _shape(row, wanted.fps)
    indices = clip_buckets(wanted.buckets, shape.num_frames, shape.height, shape.width)
    sizes = {(wanted.buckets[i].height, wanted.buckets[i].width) for i in indices}
    if any(row["id"] not in files[size] for size in sizes):
        return None
    crop = [row[f"crop_{side}"] for side in "xywh"]
    pixels = hashlib.sha256(repr((crop, wanted.fps, TRAINING_CRF)).encode()).hexdigest()[:8]
    return TrainingClip(
        id=row["id"],
        footage=row["source"],
        shape=shape,
        files={size: files[size][row["id"]] for size in sizes},
        pixels=pixels,
    )
