"""What a scan leaves out of clips, in words, and how much of it makes a file unfit."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanctl.video.opening import VideoError
from wanctl.video.scanning.clock import Timeline
from wanctl.video.scanning.damage import Damage, Unread

_SHOWN = 3  # stretches that a note lists


@dataclass(frozen=True)
class ScanBounds:
    """Bounds that a file must keep.

    Attributes:
        max_damaged: share of its frames that may be damaged. Those are left out of clips.
        max_unplaced: share of its frames that may have no time of their own.
    """

    max_damaged: float = 0.0
    max_unplaced: float = 0.05


class Findings(NamedTuple):
    """What a scan found out about a file besides its frames.

    Attributes:
        timeline: times of its frames.
        damage: which of them are damaged.
        unread: the end that was not read.
        steps: (N,) bool, frames in front of which others are missing (see `scanning.steps`).
        second_file: byte at which another file begins, whose frames are not read; 0: none does.
    """

    timeline: Timeline
    damage: Damage
    unread: Unread
    steps: np.ndarray
    second_file: int


def check(path: Path, findings: Findings, bounds: ScanBounds) -> None:
    """Refuse a file of which too much is damaged, unplaced or not read.

    Raises:
        VideoError: one line with the share and the bound.
    """
    timeline, damage, unread = findings[:3]
    if unread.reason and unread.share > bounds.max_damaged:
        raise VideoError(
            f"{path}: corrupt: cannot be read behind frame {len(timeline.pts)}, which leaves "
            f"{unread.share:.1%} of its bytes, allowed {bounds.max_damaged:.1%}: {unread.reason}"
        )
    if damage.reason and (damage.share > bounds.max_damaged or not bounds.max_damaged):
        count = int(damage.frames.sum()) + damage.lost
        raise VideoError(
            f"{path}: corrupt: {count} frames damaged ({damage.share:.1%}), allowed "
            f"{bounds.max_damaged:.1%}; the first fault: {damage.reason}"
        )
    unplaced = float(timeline.unplaced.mean())
    if unplaced > bounds.max_unplaced:
        count = int(timeline.unplaced.sum())
        raise VideoError(
            f"{path}: its clock is broken: {count} frames ({unplaced:.1%}) have no time of their "
            "own (none, that of another frame, or one before that of the frame in front), allowed "
            f"{bounds.max_unplaced:.1%}"
        )


def notes_on(findings: Findings) -> tuple[tuple[str, str], ...]:
    """(kind, text) of everything in a file that clips leave out."""
    timeline, damage, unread = findings[:3]
    notes = _gaps(findings)
    if unread.reason:
        notes.append(
            (
                "unread end",
                f"the container cannot be read behind frame {len(timeline.pts)}; "
                f"{unread.share:.1%} of the file's bytes are left out: {unread.reason}",
            )
        )
    if damage.reason:
        count = int(damage.frames.sum())
        notes.append(
            (
                "damaged stretches",
                f"{count} frames and {damage.lost} packets ({damage.share:.1%}) are damaged and "
                f"left out{_where(timeline, damage.frames)}; the first fault: {damage.reason}",
            )
        )
    if damage.hole:
        notes.append(
            (
                "holes",
                f"the container lost something in {int(damage.breaks.sum())} places, where clips "
                f"end; the first: {damage.hole}",
            )
        )
    if damage.before_key:
        notes.append(
            (
                "no key frame",
                f"begins in the middle of a group of pictures: {damage.before_key} packets before "
                "the first key frame give no frame",
            )
        )
    if timeline.unplaced.any():
        count = int(timeline.unplaced.sum())
        notes.append(
            (
                "unplaced frames",
                f"{count} frames ({timeline.unplaced.mean():.1%}) have no time of their own (none, "
                "that of another frame, or one before that of the frame in front) and are left out"
                f"{_where(timeline, timeline.unplaced)}",
            )
        )
    return tuple(notes)


def _gaps(findings: Findings) -> list[tuple[str, str]]:
    """Notes on what the file lacks or hides."""
    timeline, notes = findings.timeline, []
    if findings.second_file:
        notes.append(
            (
                "second file",
                f"another file begins at byte {findings.second_file}, whose frames are not read: "
                "two files were joined byte by byte; join them with FFmpeg's concat instead",
            )
        )
    if findings.steps.any():
        behind = np.flatnonzero(findings.steps)
        missing = int((timeline.pts[behind] - timeline.pts[behind - 1]).sum())
        first = float((timeline.pts[behind[0]] - timeline.pts[0]) * timeline.time_base)
        notes.append(
            (
                "steps",
                f"the clock steps in {len(behind)} places, together over "
                f"{float(missing * timeline.time_base):.2f} s, where clips end; the first before "
                f"{first:.2f} s: a part of the file is missing, or the recording paused",
            )
        )
    return notes


def _where(timeline: Timeline, marked: np.ndarray) -> str:
    """Where the marked frames are, in seconds from the first frame: ": 1.20-2.40 s, ..."."""
    if not marked.any():
        return ""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    tick_s = float(timeline.time_base)
    begin = (timeline.pts - timeline.pts[0]) * tick_s
    end = begin + timeline.durations * tick_s
    spans = [
        f"{begin[first]:.2f}-{end[last - 1]:.2f} s" for first, last in edges.reshape(-1, 2).tolist()
    ]
    more = f" and {len(spans) - _SHOWN} more" if len(spans) > _SHOWN else ""
    return f": {', '.join(spans[:_SHOWN])}{more}"
