"""From a scanned file to rows of `clips/`: shots, trimmed, cut to length, exact by PTS."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wanctl.curate.shots import Transition
from wanctl.data.dataset import clip_id
from wanctl.data.video import Scan


@dataclass(frozen=True)
class SplitRules:
    """How shots become clips.

    Attributes:
        trim_frames: source frames left out on both sides of a transition; a detector that saw
            30 fps of 60 fps footage is one frame unsure.
        min_clip_s: shorter shots make no clip.
        max_clip_s: longer shots are cut into equal pieces of at most this length.
    """

    trim_frames: int
    min_clip_s: float
    max_clip_s: float | None


def make_clips(
    scan: Scan, transitions: Sequence[Transition], rules: SplitRules
) -> list[dict[str, Any]]:
    """Rows of the clips table for one file, in order of time; none when all shots are short."""
    tick_s = scan.info.time_base[0] / scan.info.time_base[1]
    ends = scan.pts + scan.durations
    rows = []
    for shot, (first, last) in enumerate(_shots(scan, transitions, rules.trim_frames)):
        length_s = (ends[last] - scan.pts[first]) * tick_s
        pieces = 1
        if rules.max_clip_s is not None:
            # a hair of slack, so that 10.000001 s is not cut in two
            pieces = max(1, int(np.ceil(length_s / rules.max_clip_s - 1e-3)))
        edges = np.linspace(first, last + 1, pieces + 1).round().astype(int)
        for a, b in pairwise(edges):
            start, end = int(scan.pts[a]), int(ends[b - 1])
            if (end - start) * tick_s >= rules.min_clip_s and b > a:
                rows.append(_row(scan, shot, start, end, int(b - a)))
    return rows


def _shots(scan: Scan, transitions: Sequence[Transition], trim: int) -> list[tuple[int, int]]:
    """First and last source frame of every shot that is left after trimming."""
    shots = []
    start = 0
    for first, last in transitions:
        # a transition that covers the file's first frames ends no shot
        end = int(scan.strip_index[first]) - trim
        if first > 0 and end >= start:
            shots.append((start, end))
        after = min(last + 1, len(scan.strip_index) - 1)
        start = int(scan.strip_index[after]) + trim
    if start <= len(scan.pts) - 1 and not _covers_end(scan, transitions):
        shots.append((start, len(scan.pts) - 1))
    return shots


def _covers_end(scan: Scan, transitions: Sequence[Transition]) -> bool:
    return bool(transitions) and transitions[-1].last >= len(scan.strip_index) - 1


def _row(scan: Scan, shot: int, start: int, end: int, frames: int) -> dict[str, Any]:
    info = scan.info
    num, den = info.time_base
    tick_s = num / den
    return {
        "id": clip_id(info.content_hash, start, end),
        "source": str(info.path),
        "content_hash": info.content_hash,
        "shot": shot,
        "start_pts": start,
        "end_pts": end,
        "time_base_num": num,
        "time_base_den": den,
        "start_s": start * tick_s,
        "end_s": end * tick_s,
        "num_frames": frames,
        "fps": frames / ((end - start) * tick_s),
        "vfr": info.vfr,
        "width": info.width,
        "height": info.height,
        "coded_width": info.coded_width,
        "coded_height": info.coded_height,
        "rotation": info.rotation,
        "sar_num": info.sar[0],
        "sar_den": info.sar[1],
        "codec": info.codec,
        "pix_fmt": info.pix_fmt,
        "has_audio": info.has_audio,
        "audio_rate": info.audio_rate,
        "corrupt_share": info.corrupt_share,
    }
