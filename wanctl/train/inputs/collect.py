"""From a data set directory to the footage of one training run.

Every kept clip either serves a bucket or is logged with the reason why not. Clips are exported once
per frame size into `DATASET/training/` and read from there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.data.batches.holdout import hold_out
from wanctl.data.batches.plan import ClipShape
from wanctl.data.batches.weights import clip_weights
from wanctl.data.buckets import TrainingBucket, clip_buckets, why_no_bucket
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import (
    ExportFormat,
    crop_of,
    export_clips,
    frames_of,
    kept_clips,
    plan_clip,
)
from wanctl.errors import UserError
from wanctl.log import log, progress
from wanctl.train.accelerator import Processes
from wanctl.train.inputs.clipset import ClipSet, TrainingClip
from wanctl.video.frames import span_key
from wanctl.video.workers.worker_pool import DecodePool

# Near lossless: the VAE should learn footage, not the artefacts of a second encoding.
TRAINING_CRF = 10
REASONS_SHOWN = 5


class ClipsError(UserError):
    """The data set has nothing to train on; says which command makes it."""


@dataclass(frozen=True)
class TrainingDataOptions:
    """Which clips of a data set a run trains on, and at which sizes.

    Attributes:
        selection: name of the selection.
        buckets: training shapes.
        fps: clips are resampled to this.
        weights: factors of clips (data/batches/weights.py).
        holdout: share of clips kept from training.
        holdout_by: see `hold_out`.
        seed: of the batches.
        accumulate: micro-batches per step and process.
        windows_per_clip: train on this many evenly spaced windows of each clip; None: on any.
        groups: of processes that have batches of their own; None: each process has.
    """

    selection: str
    buckets: Sequence[TrainingBucket]
    fps: float
    weights: Mapping[str, Mapping[str, float]]
    holdout: float
    holdout_by: str
    seed: int
    accumulate: int
    windows_per_clip: int | None
    groups: int | None = None


def collect_clips(
    dataset: DatasetDir,
    options: TrainingDataOptions,
    *,
    pool: DecodePool,
    processes: Processes,
    command_options: str,
    only: Iterable[str] | None = None,
) -> ClipSet:
    """Find the clips that serve a bucket, hold some out, export them and plan the batches.

    Args:
        dataset: with a selection.
        options: selection, shapes, frame rate.
        pool: decodes the footage.
        processes: of the run; each exports its share of the clips.
        command_options: options every printed command needs, e.g. `--recipe tiny`.
        only: leave all other clips out (those without a caption, say).

    Raises:
        ClipsError: no clip was kept, none serves a bucket, or all weigh nothing.
        DatasetError: there is no such selection.
        WeightsError: a weight for something that no clip has.
    """
    rows = _kept(dataset, options.selection, command_options)
    if only is not None:
        allowed = set(only)
        rows = [row for row in rows if row["id"] in allowed]
    serving = _serving(rows, options)
    if not serving:
        raise ClipsError(
            f"{dataset.path}: none of the {len(rows)} clips serves a bucket (reasons above); "
            "add a smaller or shorter bucket to the recipe"
        )
    held = hold_out(serving, options.holdout, options.holdout_by)
    held_out = dict(zip((row["id"] for row in serving), held.flags, strict=True))
    serving = _weighted(serving, options)
    if not serving:
        raise ClipsError(f"{dataset.path}: all clips have weight 0; change `weights`")
    exported = _export(dataset, options, _ids_by_size(serving, options), pool, processes)
    found = [_training_clip(row, dataset, options, exported) for row in serving]
    clips = [clip for clip in found if clip is not None]
    if all(held_out[clip.id] for clip in clips):
        raise ClipsError(
            f"{dataset.path}: no clip is left to train on: {len(clips)} are held out, the others "
            "have weight 0 or could not be exported (reasons above)"
        )
    clip_set = ClipSet(
        clips,
        [held_out[clip.id] for clip in clips],
        options.buckets,
        seed=options.seed,
        ranks=options.groups or processes.count,
        accumulate=options.accumulate,
        windows_per_clip=options.windows_per_clip,
    )
    for line in filter(None, [*clip_set.describe(), held.text]):
        log.info(line)
    return clip_set


def _kept(dataset: DatasetDir, selection: str, command_options: str) -> list[dict[str, Any]]:
    table = f"selections/{selection}"
    if not dataset.has_part(table, ""):
        raise ClipsError(
            f"{dataset.path}: no selection named {selection!r}; "
            f"`wanctl data select {command_options}` makes it"
        )
    kept = kept_clips(dataset, selection)
    if not kept:
        count = dataset.clips(["id"]).num_rows
        raise ClipsError(
            f"{dataset.path}: selection {selection!r} keeps none of {count} clips; look at "
            f"report.html there, loosen a filter, then `wanctl data select {command_options}`"
        )
    return kept


def _shape(row: Mapping[str, Any], fps: float) -> ClipShape:
    """Frames at the training rate and pixels after the crop."""
    crop = crop_of(row)
    height, width = (crop.height, crop.width) if crop else (row["height"], row["width"])
    weight = 1.0 if row["weight"] is None else row["weight"]
    return ClipShape(frames_of(row, fps), height, width, weight)


def _serving(rows: Sequence[dict[str, Any]], options: TrainingDataOptions) -> list[dict[str, Any]]:
    """Rows that serve a bucket; logs why the others serve none."""
    serving, reasons = [], []
    for row in rows:
        shape = _shape(row, options.fps)
        if _sizes(options, shape):
            serving.append(row)
            continue
        why = why_no_bucket(options.buckets, shape.num_frames, shape.height, shape.width)
        reasons.append(f"{row['id']}: {why}")
    for reason in reasons[:REASONS_SHOWN]:
        log.warning("clip %s", reason)
    if reasons:
        log.warning("%d of %d clips serve no bucket", len(reasons), len(rows))
    return serving


def _weighted(rows: Sequence[dict[str, Any]], options: TrainingDataOptions) -> list[dict[str, Any]]:
    """Rows with their weight times the recipe's factors; those of weight 0 are left out."""
    weights = clip_weights(rows, options.weights)
    for line in weights.lines:
        log.info(line)
    for line in weights.unused:
        log.warning(line)
    weighted = []
    for row, factor in zip(rows, weights.factors, strict=True):
        weight = (1.0 if row["weight"] is None else row["weight"]) * factor
        if weight > 0:
            weighted.append({**row, "weight": weight})
    if len(weighted) < len(rows):
        log.info("%d of %d clips have weight 0 and are left out", len(rows) - len(weighted),
                 len(rows))  # fmt: skip
    return weighted


def _ids_by_size(
    rows: Iterable[Mapping[str, Any]], options: TrainingDataOptions
) -> dict[tuple[int, int], list[str]]:
    """(height, width) -> ids of the clips that are needed in this size."""
    ids: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        for size in _sizes(options, _shape(row, options.fps)):
            ids.setdefault(size, []).append(row["id"])
    return ids


def _sizes(options: TrainingDataOptions, shape: ClipShape) -> set[tuple[int, int]]:
    """(height, width) of the buckets that a clip serves."""
    indices = clip_buckets(options.buckets, shape.num_frames, shape.height, shape.width)
    return {(options.buckets[i].height, options.buckets[i].width) for i in indices}


def _export(
    dataset: DatasetDir,
    options: TrainingDataOptions,
    ids_by_size: Mapping[tuple[int, int], Sequence[str]],
    pool: DecodePool,
    processes: Processes,
) -> dict[tuple[int, int], set[str]]:
    """Export each clip at each of its frame sizes; returns the ids that exist by size."""
    exported = {}
    with progress(sum(map(len, ids_by_size.values())), "clips to training size") as bar:
        for size, ids in sorted(ids_by_size.items()):
            files = export_clips(
                dataset,
                options.selection,
                _folder(dataset, options, size),
                form=_form(options, size),
                pool=pool,
                ids=processes.share(ids),
                progress=bar,
            )
            exported[size] = set(processes.gather(file.id for file in files))
    return exported


def _folder(dataset: DatasetDir, options: TrainingDataOptions, size: tuple[int, int]) -> Path:
    """One folder per size, so that another run with this size finds its files done."""
    height, width = size
    return dataset.path / "training" / f"{options.fps:g}fps-{width}x{height}"


def _form(options: TrainingDataOptions, size: tuple[int, int]) -> ExportFormat:
    return ExportFormat(options.fps, *size, crf=TRAINING_CRF, trim_to_latents=False)


def _training_clip(
    row: Mapping[str, Any],
    dataset: DatasetDir,
    options: TrainingDataOptions,
    exported: Mapping[tuple[int, int], set[str]],
) -> TrainingClip | None:
    """A clip with its files; None where one of them could not be made."""
    shape = _shape(row, options.fps)
    sizes = _sizes(options, shape)
    if any(row["id"] not in exported[size] for size in sizes):
        return None
    plans = {
        size: plan_clip(row, _folder(dataset, options, size), _form(options, size))
        for size in sizes
    }
    crop = [row[f"crop_{side}"] for side in "xywh"]
    what = (crop, options.fps, TRAINING_CRF, *span_key(row))
    pixels = hashlib.sha256(repr(what).encode()).hexdigest()[:8]
    return TrainingClip(
        id=row["id"],
        footage=row["source"],
        shape=shape,
        files={size: plan.file for size, plan in plans.items()},
        pixels=pixels,
    )
