"""Captions of stretches of footage: the `cues` of a .json sidecar.

    {"cues": [{"start_s": 0, "end_s": 1.8, "caption": "A rabbit leaves its burrow."}, ...]}

Times are seconds of the footage. A clip takes the cue that overlaps it most, so cues need not begin
and end where clips do. Subtitle files (.srt, .vtt) are not read: beside footage they mostly hold
what is said, which is no caption.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wanctl.data.sidecars.texts import CaptionText, captions_in


@dataclass(frozen=True)
class Cue:
    """Captions of the footage from `start_s` to `end_s`, in seconds."""

    start_s: float
    end_s: float
    captions: tuple[CaptionText, ...]

    def overlap_s(self, start_s: float, end_s: float) -> float:
        """Seconds that the cue has in common with a clip; 0 or less where it has none."""
        return min(self.end_s, end_s) - max(self.start_s, start_s)


def cues_in(value: Any) -> tuple[list[Cue], list[str]]:
    """The cues of a sidecar in their order, and one sentence for each that is none.

    Args:
        value: what the sidecar has under `cues`; None: it has none.
    """
    if value is None:
        return [], []
    if not isinstance(value, list):
        return [], ['`cues` needs a list of {"start_s": ..., "end_s": ..., "caption": "..."}']
    cues: list[Cue] = []
    problems: list[str] = []
    for number, item in enumerate(value, 1):
        found = _cue(item)
        if isinstance(found, Cue):
            cues.append(found)
        else:
            problems.append(f"cue {number} is not used: {found}")
    return cues, problems


def best_cue(cues: Sequence[Cue], start_s: float, end_s: float) -> int | None:
    """Index of the cue that overlaps a clip most, the first of several; None where none does."""
    overlaps = [cue.overlap_s(start_s, end_s) for cue in cues]
    most = max(overlaps, default=0.0)
    return overlaps.index(most) if most > 0 else None


def _cue(item: Any) -> Cue | str:
    """A cue, or why it is none."""
    if not isinstance(item, Mapping):
        return 'need {"start_s": ..., "end_s": ..., "caption": "..."}'
    times = [item.get(name) for name in ("start_s", "end_s")]
    for name, time in zip(("start_s", "end_s"), times, strict=True):
        if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
            return f"{name} is {time!r:.40}, need a number of seconds"
    start_s, end_s = map(float, times)  # pyright: ignore[reportArgumentType]
    if not 0 <= start_s < end_s:
        return f"it lasts from {start_s:g} to {end_s:g} s, need 0 <= start_s < end_s"
    found = [captions_in(item.get(name)) for name in ("caption", "captions")]
    if problems := [problem for each in found for problem in each.problems]:
        return f"its caption: {problems[0]}"
    captions = tuple(caption for each in found for caption in each.captions)
    return Cue(start_s, end_s, captions) if captions else "it holds no caption"
