"""How often a run has seen each clip: derived from the plan of its batches, which needs no log."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from wanctl.atomic import replacing, write_bytes
from wanctl.data.buckets import bucket_name
from wanctl.log import log
from wanctl.train.inputs.clipset import ClipSet
from wanctl.train.rng import MicrobatchIndex

SUMMARY, TABLE = "data.json", "data.parquet"
BINS = 8
# Tasks of more micro-batches are counted in evenly spaced ones: a draw costs 20 microseconds.
COUNTED_TASKS = 20_000

TaskOf = Callable[[MicrobatchIndex, int], str]
"""Name of the task of a micro-batch of so many frames."""


def write_epochs(
    folder: Path, name: str, clips: ClipSet, steps: int, task_of: TaskOf | None = None
) -> None:
    """Write `data.json` and `data.parquet` into the folder of a run, and log two lines.

    The counts are those of a run that has had these clips and settings from its first step on.

    Args:
        folder: of the run.
        name: the command, for the log.
        clips: what it was trained on.
        steps: optimizer steps that are done.
        task_of: the task of each micro-batch, where a run has several.
    """
    counts = clips.counts(steps)
    ids = [[clips.training[number].id for number in members] for members in clips.members]
    table = pa.table(
        {
            "id": pa.array([each for several in ids for each in several], pa.string()),
            "bucket": pa.array(
                [
                    bucket_name(bucket)
                    for bucket, several in zip(clips.buckets, ids, strict=True)
                    for _ in several
                ],
                pa.string(),
            ),
            "times_seen": pa.array(np.concatenate(counts), pa.int64()),
        }
    )
    with replacing(folder / TABLE) as temp:
        parquet.write_table(table, temp)
    summary = _summary(clips, counts, steps)
    if task_of is not None:
        summary["tasks"] = _task_shares(clips, steps, task_of)
    write_bytes(folder / SUMMARY, json.dumps(summary, indent=2).encode())
    seen = summary["times_seen"]
    log.info(
        "%s: each of %d clips was seen %.3g times (%d to %d; %d never): %s", name, summary["clips"],
        seen["mean"], seen["least"], seen["most"], summary["never_seen"], folder / SUMMARY,
    )  # fmt: skip
    log.info("%s: times seen: %s", name, ", ".join(
        f"{low}-{high}: {number} clips" if low < high else f"{low}: {number} clips"
        for low, high, number in summary["histogram"]
    ))  # fmt: skip


def _summary(clips: ClipSet, counts: list[np.ndarray], steps: int) -> dict[str, Any]:
    totals = np.zeros(len(clips.training), dtype=np.int64)
    for members, count in zip(clips.members, counts, strict=True):
        np.add.at(totals, np.asarray(members, dtype=np.int64), count)
    buckets = [
        {
            "bucket": bucket_name(bucket),
            "clips": len(count),
            "samples": int(count.sum()),
            "epochs": round(float(count.mean()), 3),
        }
        for bucket, count in zip(clips.buckets, counts, strict=True)
        if len(count)
    ]
    return {
        "steps": steps,
        "clips": len(totals),
        "held_out_clips": len(clips.evaluation),
        "samples": int(totals.sum()),
        "never_seen": int((totals == 0).sum()),
        "times_seen": {
            "least": int(totals.min()),
            "mean": round(float(totals.mean()), 3),
            "most": int(totals.max()),
        },
        "histogram": _histogram(totals),
        "buckets": buckets,
    }


def _histogram(totals: np.ndarray) -> list[tuple[int, int, int]]:
    """(least, most, number of clips) of at most `BINS` ranges of equal width."""
    low, high = int(totals.min()), int(totals.max())
    width = -(-(high - low + 1) // BINS)
    bins = Counter(((totals - low) // width).tolist())
    return [
        (low + place * width, min(low + (place + 1) * width - 1, high), number)
        for place, number in sorted(bins.items())
    ]


def _task_shares(clips: ClipSet, steps: int, task_of: TaskOf) -> dict[str, float]:
    """Shares of the micro-batches, of all or of evenly spaced ones."""
    per_step = clips.microbatches_per_step
    spacing = max(1, steps * per_step // COUNTED_TASKS)
    names: Counter[str] = Counter()
    for number in range(0, steps * per_step, spacing):
        step, micro = divmod(number, per_step)
        bucket = clips.bucket(step, micro)
        names[task_of(MicrobatchIndex(clips.seed, step, micro), bucket.frames)] += 1
    return {name: round(count / names.total(), 4) for name, count in names.most_common()}
