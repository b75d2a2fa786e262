"""Metadata of the shown clips and timelines of their sources, as JSON for the page's scripts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from wanctl.curate.api import Drawing
from wanctl.curate.select.overrides import OVERRIDE
from wanctl.report.decided_clips import DecidedClips, indices
from wanctl.report.examples import spread_evenly
from wanctl.report.records.clip_drawings import ClipDrawings
from wanctl.report.records.reasons import ReasonKinds
from wanctl.video.frames import SPAN

MAX_TIMELINES = 60
MAX_SEGMENTS = 6000

_COPIED_COLUMNS = ("id", "width", "height", "num_frames", "codec", "pix_fmt", "has_audio", "vfr",
                "rotation", "bucket")  # fmt: skip


def clip_records(
    decided: DecidedClips,
    rows: Sequence[int],
    evidence: Mapping[str, Mapping[str, Any]],
    reasons: ReasonKinds,
) -> list[Any]:
    """One mapping per clip, in the order of `rows`.

    Args:
        decided: all clips with their verdicts.
        rows: the clips.
        evidence: key -> clip id -> captions, drawings or strings.
        reasons: the kinds of reasons; each reason of a record is [filter, text, index of its kind].
    """
    clips = decided.clips.take(indices(rows)).to_pylist()
    chosen = decided.selection.take(indices(rows)).to_pylist()
    return [
        {
            **_record(clip, row, reasons.of_row(place)),
            **{
                key: by_clip[clip["id"]]
                for key, by_clip in evidence.items()
                if clip["id"] in by_clip
            },
        }
        for clip, row, place in zip(clips, chosen, rows, strict=True)
    ]


def drawing_records(
    drawings: Mapping[str, ClipDrawings],
) -> tuple[list[str], dict[str, list[Any]], dict[str, list[Any]]]:
    """Drawings as JSON.

    Returns:
        The kinds; clip id -> [[index of the kind, points, label, start in s, end in s]], without
        what is empty at the end; clip id -> [[filter, x, y, width, height]] of crops.
    """
    # in the order of the alphabet, so that reports of a recipe use the same colours
    names = sorted({each.kind for one in drawings.values() for each in one.found})
    kinds = {name: code for code, name in enumerate(names)}
    found = {
        clip: [_drawing_record(each, kinds[each.kind]) for each in one.found]
        for clip, one in drawings.items()
        if one.found
    }
    crops = {clip: [list(crop) for crop in one.crops] for clip, one in drawings.items()
             if one.crops}  # fmt: skip
    return names, found, crops


def _drawing_record(drawing: Drawing, kind: int) -> list[Any]:
    span = [] if drawing.span is None else [round(time, 2) for time in drawing.span]
    label = [drawing.label] if drawing.label or span else []
    return [kind, [round(value) for value in drawing.polygon], *label, *span]


def _record(
    clip: Mapping[str, Any], row: Mapping[str, Any], kinds: Sequence[int]
) -> dict[str, Any]:
    both = {**clip, **row}
    crop = [row[f"crop_{side}"] for side in "xywh"]
    return {
        **{name: both[name] for name in _COPIED_COLUMNS if both.get(name) not in (None, False)},
        "source": clip["source"],
        "start": round(clip["start_s"], 3),
        "end": round(clip["end_s"], 3),
        "fps": json_number(clip["fps"]),
        "corrupt": json_number(clip["corrupt_share"]),
        "kept": row["kept"],
        "reasons": [
            [*reason.partition(": ")[::2], kind]
            for reason, kind in zip(row["reasons"], kinds, strict=True)
        ],
        "scores": {each["filter"]: json_number(each["score"]) for each in row["scores"]},
        "labels": {each["filter"]: each["label"] for each in row.get("labels") or ()},
        "weight": json_number(row["weight"]),
        **({OVERRIDE: row[OVERRIDE]} if row[OVERRIDE] else {}),
        **_span(row),
        **({"crop": crop} if crop != [0, 0, clip["width"], clip["height"]] else {}),
    }


def _span(row: Mapping[str, Any]) -> dict[str, Any]:
    """The span that is kept, [start, end] in seconds from the clip's first frame, and why."""
    if row[SPAN[0]] is None:
        return {}
    return {"span": [round(row[name], 2) for name in SPAN], "trimmed": row["span_reason"]}


def source_timelines(
    decided: DecidedClips, record_index: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Per source file, the clips over time and the first filter that drops each.

    Args:
        decided: all clips with their verdicts.
        record_index: row of `decided` -> index among the records.

    Returns:
        Sources spread evenly over the set. A clip is [start in s, length in s, index of the first
        filter that drops it or -1, index of its record or -1].
    """
    sources = decided.clips["source"].combine_chunks().dictionary_encode()
    codes = sources.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(sources.dictionary) + 1))
    start_s, seconds = decided.numbers("start_s"), decided.seconds()
    timelines, segments = [], 0
    for code in spread_evenly(np.arange(len(sources.dictionary)), MAX_TIMELINES):
        rows = order[starts[code] : starts[code + 1]]
        segments += len(rows)
        if timelines and segments > MAX_SEGMENTS:
            break
        timelines.append(
            {
                "source": sources.dictionary[code].as_py(),
                "end": round(float((start_s[rows] + seconds[rows]).max()), 3),
                "clips": [
                    [
                        round(float(start_s[row]), 2), round(float(seconds[row]), 2),
                        int(decided.first[row]), record_index.get(row, -1),
                    ]
                    for row in rows[:MAX_SEGMENTS].tolist()
                ],
            }
        )  # fmt: skip
    return timelines


def json_number(value: float | None) -> float | None:
    """A number in five digits; None for None, NaN and infinity, which JSON does not have."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def short_name(source: str) -> str:
    """The last part of a path or URL, without its ending."""
    return PurePosixPath(source).stem or source
