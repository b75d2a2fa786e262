"""Spans of clips without their titles: heavy text in the first or last seconds alone.

A clip that is dropped or cropped for its text is kept from the sample after a title on, or up to
the sample before one, where the rest is long enough and passes by itself. Text that is there all
the time, such as subtitles or a mark, is part of every rest and so is never trimmed away.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from wanctl.curate.api import Box, Verdict
from wanctl_filters.ocr.polygons import Polygon
from wanctl_filters.shared.overlay import TextTracks

_ROUNDED_S = 2e-3  # times of tracks are stored in milliseconds

Judge = Callable[[TextTracks, list[list[Polygon]]], Verdict]
"""The verdict on some of a clip's tracks, and on the text lines of some of its frames."""


@dataclass(frozen=True)
class ClipText:
    """The text of one clip.

    Attributes:
        tracks: the overlaid ones.
        lines: polygons of each frame in which text was detected; empty where they need no look.
        times_s: (S,) when the samples were taken, in seconds from the first frame. A sample is the
            frame displayed at that time.
        stride: text was detected in every so many samples.
        duration_s: of the clip.
        view: the part of the frame that earlier crops leave.
    """

    tracks: TextTracks
    lines: list[list[Polygon]]
    times_s: np.ndarray
    stride: int
    duration_s: float
    view: Box


def without_titles(verdict: Verdict, text: ClipText, judge: Judge, least_s: float) -> Verdict:
    """The verdict, with a span where that keeps more pixels times seconds than `verdict` does.

    Args:
        verdict: on the whole clip: drops or crops it.
        text: of the clip.
        judge: decides on a part of it, within the same view.
        least_s: a span has at least this length.
    """
    times, duration_s = text.times_s, text.duration_s
    # samples that show each track, as indices; the frame of a sample may begin before its time
    first = np.searchsorted(times, text.tracks.first_s - _ROUNDED_S)
    last = np.searchsorted(times, text.tracks.last_s - _ROUNDED_S)

    def rest(start: float, end: float) -> tuple[TextTracks, list[list[Polygon]]]:
        inside = np.flatnonzero((times >= start) & (times <= end))
        low, high = (inside[0], inside[-1]) if len(inside) else (len(times), -1)
        lines = [
            frame for number, frame in enumerate(text.lines) if low <= number * text.stride <= high
        ]
        return text.tracks[(last >= low) & (first <= high)], lines

    def passes(start: float, end: float) -> bool:
        found = judge(*rest(start, end))
        return found.keep and found.crop is None

    starts = {0.0, *times[np.minimum(last + 1, len(times) - 1)].tolist()}
    ends = {duration_s, *times[np.maximum(first - 1, 0)].tolist()}
    pixels = text.view.width * text.view.height
    crop = verdict.crop
    kept = 0.0 if crop is None else duration_s * crop.width * crop.height
    spans = {
        (start, end)
        for start, end in product(starts, ends)
        if end - start >= least_s and (end - start) * pixels > kept
    } - {(0.0, duration_s)}
    # every span holds the middle; text there is no title
    if not spans or not passes(max(s for s, _ in spans), min(e for _, e in spans)):
        return verdict
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if passes(start, end):
            return replace(
                verdict, keep=True, reason="", crop=None, span=(start, end),
                span_reason=_reason(verdict, start, duration_s - end),
            )  # fmt: skip
    return verdict


def _reason(verdict: Verdict, head_s: float, tail_s: float) -> str:
    parts = [f"{name} {s:.2f} s" for name, s in (("first", head_s), ("last", tail_s)) if s > 0]
    share = f" ({verdict.score:.1f} % at most)" if verdict.score else ""
    return f"the {' and the '.join(parts)} are left out, which text covers{share}"
