"""What the page's script is given: the facts on the shown clips, as plain JSON values."""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from wanctl.report.choose import spread
from wanctl.report.outcome import Outcome, indices

MAX_STRIPS = 60
MAX_SEGMENTS = 6000

_AS_THEY_ARE = ("id", "width", "height", "num_frames", "codec", "pix_fmt", "has_audio", "vfr",
                "rotation", "bucket")  # fmt: skip


def records(
    outcome: Outcome, rows: Sequence[int], findings: Mapping[str, Mapping[str, Any]]
) -> list[Any]:
    """One mapping per clip, in the order of `rows`.

    Args:
        outcome: the decided set.
        rows: the clips.
        findings: key -> clip id -> what more is known.
    """
    clips = outcome.clips.take(indices(rows)).to_pylist()
    chosen = outcome.selection.take(indices(rows)).to_pylist()
    return [
        {
            **_record(clip, row),
            **{key: known[clip["id"]] for key, known in findings.items() if clip["id"] in known},
        }
        for clip, row in zip(clips, chosen, strict=True)
    ]


def _record(clip: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    both = {**clip, **row}
    crop = [row[f"crop_{side}"] for side in "xywh"]
    return {
        **{name: both[name] for name in _AS_THEY_ARE if both.get(name) not in (None, False)},
        "source": clip["source"],
        "start": round(clip["start_s"], 3),
        "end": round(clip["end_s"], 3),
        "fps": number(clip["fps"]),
        "corrupt": number(clip["corrupt_share"]),
        "kept": row["kept"],
        "reasons": [list(reason.partition(": ")[::2]) for reason in row["reasons"]],
        "scores": {each["filter"]: number(each["score"]) for each in row["scores"]},
        "labels": {each["filter"]: each["label"] for each in row.get("labels") or ()},
        "weight": number(row["weight"]),
        **({"crop": crop} if crop != [0, 0, clip["width"], clip["height"]] else {}),
    }


def strips(outcome: Outcome, places: Mapping[int, int]) -> list[dict[str, Any]]:
    """Per source file, where its clips lie and what became of them.

    Args:
        outcome: the decided set.
        places: row -> place among the records.

    Returns:
        Sources from all over the set; each clip is [start, length, first reason, record].
    """
    sources = outcome.clips["source"].combine_chunks().dictionary_encode()
    codes = sources.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(sources.dictionary) + 1))
    begin, seconds = outcome.numbers("start_s"), outcome.seconds()
    found, segments = [], 0
    for code in spread(np.arange(len(sources.dictionary)), MAX_STRIPS):
        rows = order[starts[code] : starts[code + 1]]
        segments += len(rows)
        if found and segments > MAX_SEGMENTS:
            break
        found.append(
            {
                "source": sources.dictionary[code].as_py(),
                "end": round(float((begin[rows] + seconds[rows]).max()), 3),
                "clips": [
                    [
                        round(float(begin[row]), 2), round(float(seconds[row]), 2),
                        int(outcome.first[row]), places.get(row, -1),
                    ]
                    for row in rows[:MAX_SEGMENTS].tolist()
                ],
            }
        )  # fmt: skip
    return found


def number(value: float | None) -> float | None:
    """Five digits of a number; None for what JSON has no word for."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def short_name(source: str) -> str:
    """The last part of a path or URL, without its ending."""
    return PurePosixPath(source).stem or source
