"""Which frames of a file are damaged: the ones that the decoder marked, and those that need them.

A fault in a packet spoils its own frame and every frame that is decoded from it, up to the next
frame that needs no other. Frames before the fault, in the order of display, are left whole.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from wanctl.video.scanning.decode_stats import LOST, DecodeStats

# Decoders that notice when a part of a packet is missing; the others decode it to something.
_CHECKING = ("h264", "mpeg2video", "mpeg1video", "mpeg4", "ffv1")


@dataclass(frozen=True)
class Damage:
    """Damage of a file.

    Attributes:
        frames: (N,) bool, the damaged ones.
        lost: packets that gave no frame because of a fault.
        before_key: packets in front of the first key frame of a recording that begins in the middle
            of a group of pictures. They hold nothing that could be shown, so they are no damage.
        reason: what the first fault is; "" where there is none.
        breaks: (N,) bool, frames in front of which the container lost something.
        hole: what the demuxer reports of the first such place; "" where there is none.
    """

    frames: np.ndarray
    lost: int
    before_key: int
    reason: str
    breaks: np.ndarray
    hole: str

    @property
    def share(self) -> float:
        """Damaged frames and lost packets, as a share of all."""
        return (int(self.frames.sum()) + self.lost) / max(1, len(self.frames) + self.lost)


class Unread(NamedTuple):
    """The end of a file that its container does not lead to.

    Attributes:
        reason: why; "" where everything is read.
        share: its bytes, as a share of the file's.
    """

    reason: str
    share: float


def find_unread(stats: DecodeStats, size: int) -> Unread:
    """What of a file of `size` bytes was not read."""
    if not stats.unreadable:
        return Unread("", 0.0)
    return Unread(stats.unreadable, 1 - min(1.0, stats.end_byte / max(1, size)))


def find_damage(stats: DecodeStats, codec: str) -> Damage:
    """Find the damaged frames of a decoding pass, by the decoder `codec`, over a whole file."""
    given = set(stats.origin)
    first_key = stats.first_key or 0
    if first_key and any(origin < first_key for origin in given):
        first_key = 0  # frames came before it: the container does not mark key frames reliably
    last = max(0, stats.last_packet)
    found, holes = _faults(stats, codec, last)
    noted = [(min(number, last), what) for number, what in found]
    faults = sorted(
        # frames in front of the first key frame refer to what was never there
        (
            (number, what)
            for number, what in noted
            if number >= first_key and (number in given or not _leads(stats, number, first_key))
        ),
        key=lambda fault: fault[0],
    )
    spoiled = _spoiled(stats, sorted({number for number, _ in faults}))
    lost = len({number for number, _ in faults} - given)
    reason = faults[0][1] if faults else ""
    hole = holes[0][1] if holes else ""
    breaks = _breaks(stats, [number for number, _ in holes])
    return Damage(spoiled, lost, first_key, reason, breaks, hole)


def _faults(
    stats: DecodeStats, codec: str, last: int
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(number of a packet, what is wrong with it) each, and the same of packets behind holes."""
    holes = [(number, what) for number, what in stats.holes if 0 < number <= last]
    faults = [(number, what) for number, what in stats.faults if what != LOST]
    keys = {origin for origin, key in zip(stats.origin, stats.is_key, strict=True) if key}
    broken = {number for number, _ in faults}
    # The demuxer marks what it was collecting, whole or not, and by then the parser gives out the
    # packet before that.
    for number in [number for number, what in stats.faults if what == LOST]:
        near = (number, number + 1)
        if codec in _CHECKING and number + 2 in keys and not broken.intersection(near):
            holes.append((number + 2, LOST))
            continue
        suspects = near if codec in _CHECKING else (*near, number + 2)
        faults += [(each, LOST) for each in suspects]
    if codec not in _CHECKING:
        faults += [(number - 1, f"the container reports: {what}") for number, what in holes]
    # nobody says whether the frames behind a hole refer to what was in it
    faults += [(n, f"the container reports: {what}") for n, what in holes if n not in keys]
    return faults, sorted(holes)


def _breaks(stats: DecodeStats, holes: list[int]) -> np.ndarray:
    """(N,) bool: the first frame behind each hole."""
    breaks = np.zeros(len(stats.origin), dtype=bool)
    if holes and len(breaks):
        behind = np.searchsorted(np.maximum.accumulate(stats.origin), holes)
        breaks[behind[behind < len(breaks)]] = True
    return breaks


def _spoiled(stats: DecodeStats, faults: list[int]) -> np.ndarray:
    spoiled = np.zeros(len(stats.origin), dtype=bool)
    if not faults:
        return spoiled
    keys = [(index, stats.origin[index]) for index in np.flatnonzero(stats.is_key).tolist()]
    for (index, origin), (end, _) in pairwise([(0, 0), *keys, (len(spoiled), 0)]):
        # Frames of one group: from one key frame to the next. Those displayed before the next key
        # frame may be coded after it and still need this group; those after it do not need them.
        since = range(bisect_left(faults, origin), len(faults))
        own = (faults[k] for k in since if not _leads(stats, faults[k], origin))
        if (first := next(own, None)) is None:
            continue
        for frame in range(index, end):
            spoiled[frame] = stats.origin[frame] >= first
    return spoiled


def _leads(stats: DecodeStats, number: int, key: int) -> bool:
    """Whether a packet is coded after a key frame and displayed before it."""
    if number <= key or number >= len(stats.times):
        return False
    time, at_key = stats.times[number], stats.times[key]
    return time is not None and at_key is not None and time < at_key
