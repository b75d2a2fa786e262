"""Requested frames (`FrameSpec`) and decoded frames (`FrameBatch`). Imports no decoder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np


class Box(NamedTuple):
    """A rectangle in display pixels (after rotation, square pixels)."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class FrameSpec:
    """Frames that a filter requests of every clip. Exactly one of `fps` and `count` is set.

    Attributes:
        fps: sample at this rate from the clip's first frame on; never more than the clip has.
        count: this many frames, at the centres of equal parts of the clip.
        max_count: upper bound for `fps`; beyond it the samples are spread evenly.
        long_side_px: scale down so that the longer side is at most this; never scaled up.
            None keeps the native size.
        color: `rgb` gives (N, H, W, 3), `gray` gives (N, H, W) (luma as stored, full range).
        scaling: `area` averages; `nearest` picks pixels, which costs little and hides no clipping.
        burst: frames per sample: the one displayed at the time and those that follow it.
            With `count`, the bursts lie around the centres.
        burst_gap_s: minimum seconds between the frames of a burst; 0 takes neighbours.
    """

    fps: float | None = None
    count: int | None = None
    max_count: int | None = None
    long_side_px: int | None = None
    color: Literal["rgb", "gray"] = "rgb"
    scaling: Literal["area", "nearest"] = "area"
    burst: int = 1
    burst_gap_s: float = 0.0

    def __post_init__(self) -> None:
        if (self.fps is None) == (self.count is None):
            raise ValueError("FrameSpec: set exactly one of fps and count")


@dataclass(frozen=True)
class FrameBatch:
    """Decoded frames of one clip.

    Attributes:
        frames: (N, H, W, 3) or (N, H, W) uint8, display orientation, square pixels.
        times_s: (N,) float64, seconds from the clip's first frame.
        scale: frame width divided by the clip's display width (1.0 at native size).
    """

    frames: np.ndarray
    times_s: np.ndarray
    scale: float


BY_PTS, BY_DTS, BY_RATE = "pts", "dts", "rate"
"""Clocks of files that cannot be searched by time (see `scanning.clock`): the times within a clip
follow the PTS of its frames, or their DTS, or are evenly spaced."""

_COUNTED_TICKS_S = 90_000


@dataclass(frozen=True)
class FrameRange:
    """Which of a file's frames make a clip.

    Attributes:
        clock: "" where they are found by PTS; else they are found by counting, and this clock gives
            the times within the clip.
        first: index of its first frame among all frames that the file decodes to.
        count: number of its frames.
    """

    clock: str
    first: int
    count: int


@dataclass(frozen=True)
class TrimmedRange(FrameRange):
    """The frames of a clip of which only those within the requested PTS are read.

    Attributes:
        clip_pts: PTS of the clip's first frame, and the exclusive end of its last one.
    """

    clip_pts: tuple[int, int]


class Span(NamedTuple):
    """Where the frames of a clip are.

    Attributes:
        pts: of the first one, and the exclusive end of the last one.
        frame_range: which frames they are; None in tables of earlier versions.
    """

    pts: tuple[int, int]
    frame_range: FrameRange | None = None


SPAN = ("span_start_s", "span_end_s")
"""Columns of a selection: the part of a clip that is kept, in seconds from its first frame; null
where all of it is."""
CLIP_DURATION = "clip_duration_s"
"""Key of rows of `trimmed`: length of the whole clip."""
_UNTRIMMED = "untrimmed"


def trimmed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the clips table, joined with its verdict, cut down to the span that is kept.

    Times, PTS and number of frames are those of the span; the id stays. A row whose span is null or
    missing stays as it is. The number of frames is exact at a constant frame rate.

    Args:
        row: the clip's times, PTS and number of frames, and SPAN.
    """
    if row.get(SPAN[0]) is None:
        return dict(row)
    first, end = row["start_pts"], row["end_pts"]
    tick_s = (row["end_s"] - row["start_s"]) / (end - first)
    start = min(first + max(0, round(row[SPAN[0]] / tick_s)), end - 1)
    stop = max(min(first + round(row[SPAN[1]] / tick_s), end), start + 1)
    return {
        **row,
        "start_pts": start,
        "end_pts": stop,
        "start_s": row["start_s"] + (start - first) * tick_s,
        "end_s": row["end_s"] - (end - stop) * tick_s,
        "num_frames": max(1, round(row["num_frames"] * (stop - start) / (end - first))),
        CLIP_DURATION: row["end_s"] - row["start_s"],
        _UNTRIMMED: (first, end, row["num_frames"]),
    }


def span_key(row: Mapping[str, Any]) -> list[int]:
    """What keys of files and caches name of a row of `trimmed`: its PTS; empty for a whole clip."""
    return [row["start_pts"], row["end_pts"]] if _UNTRIMMED in row else []


def range_of(row: Mapping[str, Any]) -> FrameRange | None:
    """The frames of a row of the clips table, or of `trimmed`; None in tables of earlier versions.

    The exact PTS of a span's first frame are not in the table: it is found among the clip's frames.
    """
    if (clip := row.get(_UNTRIMMED)) is not None:
        clock, number = row.get("clock") or "", row.get("first_frame") or 0
        return TrimmedRange(clock, number, clip[2], (clip[0], clip[1]))
    if row.get("first_frame") is None:
        return None
    return FrameRange(row["clock"] or "", row["first_frame"], row["num_frames"])


def counted_factor(time_base: Fraction) -> int:
    """Units per tick of the container in times that are found by counting.

    At least 90,000 a second, so that there is room between frames that share a tick.
    """
    return max(1, math.ceil(_COUNTED_TICKS_S * time_base))
