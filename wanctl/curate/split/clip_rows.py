"""Makes rows of `clips/` from a scanned file: trimmed shots, cut to length, exact by PTS.

No clip holds a damaged frame or one without a time, a gap, or a place where the clock starts again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from wanctl.curate.split.shots import Transition
from wanctl.data.dataset import clip_id
from wanctl.video.interlace import frozen, moving_share, repeats
from wanctl.video.probe import Scan


@dataclass(frozen=True)
class SplitRules:
    """Rules for making clips of shots.

    Attributes:
        trim_frames: source frames removed on both sides of a transition; a detector that reads
            60 fps footage at 30 fps is uncertain by one frame.
        min_clip_s: shorter shots become no clip.
        max_clip_s: longer shots are cut into equal pieces of at most this length.
    """

    trim_frames: int
    min_clip_s: float
    max_clip_s: float | None


class Split(NamedTuple):
    """Rows of the clips table in order of time, and the seconds of each shot that was too short."""

    rows: list[dict[str, Any]]
    short_s: list[float]


def make_clips(
    scan: Scan, source: str, transitions: Sequence[Transition], rules: SplitRules
) -> Split:
    """Divide one file, named `source` in the table, into clips."""
    tick_s = scan.info.time_base[0] / scan.info.time_base[1]
    ends = scan.pts + scan.durations
    split = Split([], [])
    shots = [
        run
        for first, last in _shots(scan, transitions, rules.trim_frames)
        for run in _whole_runs(scan, first, last)
    ]
    for shot, (first, last) in enumerate(shots):
        for a, b in pairwise(_edges(scan, first, last, rules.max_clip_s)):
            start, end = int(scan.pts[a]), int(ends[b - 1])
            seconds = (end - start) * tick_s
            if seconds >= rules.min_clip_s:
                split.rows.append(_row(scan, source, shot, (start, end), (a, b)))
            else:
                split.short_s.append(seconds)
    return split


def _edges(scan: Scan, first: int, last: int, max_s: float | None) -> list[int]:
    """Indices of the frames at which the pieces of a shot begin, and of the frame after its end."""
    if max_s is None:
        return [first, last + 1]
    tick_s = scan.info.time_base[0] / scan.info.time_base[1]
    start, end = int(scan.pts[first]), int(scan.pts[last] + scan.durations[last])
    # small tolerance, so that 10.000001 s is not cut in two
    pieces = max(1, int(np.ceil((end - start) * tick_s / max_s - 1e-3)))
    # cuts lie between frames, so pieces differ by a frame; with a variable rate, by a long one
    slack = int(scan.durations[first : last + 1].min()) + 1
    edges = _cut(scan, first, last, pieces)
    done = [first]
    while len(edges) > 1:
        a, b = edges[0], edges[1]
        length = int(scan.pts[b - 1] + scan.durations[b - 1] - scan.pts[a])
        if b - a > 1 and length > max_s / tick_s + slack:
            edges[:2] = _cut(scan, a, b - 1, 2)
        else:
            done.append(b)
            del edges[0]
    return done


def _cut(scan: Scan, first: int, last: int, pieces: int) -> list[int]:
    """Edges (see `_edges`) of pieces that are as equal as frames allow."""
    start, end = int(scan.pts[first]), int(scan.pts[last] + scan.durations[last])
    # equal in time, not in frames: with a variable frame rate pieces could have any length
    times = np.linspace(start, end, pieces + 1)[1:-1]
    middles = scan.pts[first : last + 1] - scan.durations[first : last + 1] / 2
    inner = np.searchsorted(middles, times, side="right") - 1 + first
    edges = sorted({first, *map(int, inner), last + 1})
    if pieces > 1 and len(edges) == 2 and last > first:
        # one frame is displayed for nearly all of the time: it becomes a piece of its own
        longest = first + int(np.argmax(scan.durations[first : last + 1]))
        edges = sorted({first, longest, longest + 1, last + 1})
    return edges


def _shots(scan: Scan, transitions: Sequence[Transition], trim: int) -> list[tuple[int, int]]:
    """(first, last) source frame of every shot after trimming."""
    shots = []
    start = 0
    for first, last in transitions:
        # a transition over the file's first frames ends no shot
        end = int(scan.strip_index[first]) - trim
        if first > 0 and end >= start:
            shots.append((start, end))
        after = min(last + 1, len(scan.strip_index) - 1)
        start = int(scan.strip_index[after]) + trim
    if start <= len(scan.pts) - 1 and not _covers_end(scan, transitions):
        shots.append((start, len(scan.pts) - 1))
    return shots


def _whole_runs(scan: Scan, first: int, last: int) -> list[tuple[int, int]]:
    """(first, last) frame of every part of a shot that can be shown without a jump."""
    if not (scan.breaks.any() or scan.unfit.any()):
        return [(first, last)]
    frames = np.arange(first, last + 1)
    if len(scan.unfit):
        frames = frames[~scan.unfit[frames]]
    apart = np.diff(frames) > 1
    if len(scan.breaks):
        apart |= scan.breaks[frames[1:]]
    runs = np.split(frames, np.flatnonzero(apart) + 1)
    return [(int(run[0]), int(run[-1])) for run in runs if len(run)]


def _covers_end(scan: Scan, transitions: Sequence[Transition]) -> bool:
    return bool(transitions) and transitions[-1].last >= len(scan.strip_index) - 1


def _row(
    scan: Scan, source: str, shot: int, span: tuple[int, int], frames: tuple[int, int]
) -> dict[str, Any]:
    info = scan.info
    start, end = span
    num_frames = frames[1] - frames[0]
    num, den = info.time_base
    tick_s = num / den
    return {
        "id": clip_id(info.content_hash, start, end),
        "source": source,
        "content_hash": info.content_hash,
        "shot": shot,
        "start_pts": start,
        "end_pts": end,
        "time_base_num": num,
        "time_base_den": den,
        "start_s": start * tick_s,
        "end_s": end * tick_s,
        "num_frames": num_frames,
        "fps": num_frames / ((end - start) * tick_s),
        "vfr": info.vfr,
        "width": info.width,
        "height": info.height,
        "coded_width": info.coded_width,
        "coded_height": info.coded_height,
        "rotation": info.rotation,
        "mirrored": info.mirrored,
        "sar_num": info.sar[0],
        "sar_den": info.sar[1],
        "codec": info.codec,
        "pix_fmt": info.pix_fmt,
        "has_audio": info.has_audio,
        "audio_rate": info.audio_rate,
        "corrupt_share": 0.0,  # damaged frames are left out
        "damaged_share": info.corrupt_share,
        "unplaced_share": info.unplaced_share,
        "clock": info.clock,
        "first_frame": frames[0],
        "bit_rate": info.bit_rate,
        "transfer": info.transfer,
        "interlaced": info.interlaced,
        "primaries": info.primaries,
        **_repeat_shares(scan, *frames),
    }


def _repeat_shares(scan: Scan, first: int, end: int) -> dict[str, float]:
    """Shares of the clip's frames that are combed, repeated, or part of a still run."""
    tick_s = scan.info.time_base[0] / scan.info.time_base[1]
    checked = scan.combed[first:end]
    checked = checked[checked >= 0]
    moving = scan.moving[first:end] if len(scan.moving) else None
    same = repeats(scan.change[first:end], moving)
    still = frozen(same, scan.durations[first:end] * tick_s)
    return {
        "comb_share": float(checked.mean()) if len(checked) else 0.0,
        "repeat_share": float(same.mean()),
        "frozen_share": float(still.mean()),
        "moving_share": 1.0 if moving is None else moving_share(moving, same),
    }
