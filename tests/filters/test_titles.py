"""Titles in the first or last seconds of a clip: a span without them is kept."""

from dataclasses import replace

import numpy as np
import pytest

from wanctl.curate.api import Box
from wanctl_filters.ocr.filter import Ocr

TITLE = (160, 120, 480, 200)  # 11 % of the frame, in its middle: no crop removes it
SUBTITLE = (100, 316, 540, 350)
SECONDS = 10.0


def evidence(*tracks, **measures):
    """Evidence of overlaid lines over moving ground.

    Args:
        tracks: (box, first and last sample that show it); two samples a second.
        measures: other than those of such a line.
    """
    values = {
        "around": 9.0, "moving": 0.5, "shift": 0.0, "noise": 3.0, "fade": 0.0, "gaps": 9.0,
        "hidden": 0, "onset": 255.0, "steep": 0.3, "even": 2.0, "contrast": 200.0, "angle": 0.0,
        "relay": 0, "tried": 1, **measures,
    }  # fmt: skip
    corners = [[x, y, z, y, z, w, x, w] for (x, y, z, w), _, _ in tracks]
    return {
        "polygons": [
            [line for line, (_, first, last) in zip(corners, tracks, strict=True)
             if first <= sample <= last]
            for sample in range(0, 20, 2)
        ],
        "texts": [],
        "samples": 20,
        "track_corners": [value for line in corners for value in line],
        "track_plates": [0.0] * 4 * len(tracks),
        "track_first_s": [first / 2 for _, first, _ in tracks],
        "track_last_s": [last / 2 for _, _, last in tracks],
        "track_matches": [4] * len(tracks),
        "track_texts": ["words"] * len(tracks),
        **{f"track_{name}": [value] * len(tracks) for name, value in values.items()},
    }  # fmt: skip


@pytest.fixture
def clip(row):
    return replace(row(np.zeros((20, 360, 640, 3), np.uint8)), start_s=5.0, end_s=5.0 + SECONDS)


@pytest.mark.parametrize(
    ("tracks", "span"),
    [
        ([(TITLE, 0, 3)], (2.0, 10.0)),  # the sample at 2 s is free of it
        ([(TITLE, 2, 4), (SUBTITLE, 0, 1)], (2.5, 10.0)),
        ([(TITLE, 16, 19)], (0.0, 7.5)),
        ([(TITLE, 0, 1), (TITLE, 18, 19)], (1.0, 8.5)),
        # the line in the corner is no more than a clip may have
        ([(TITLE, 0, 3), ((20, 20, 100, 40), 0, 19)], (2.0, 10.0)),
    ],
)
def test_a_title_at_either_end_is_trimmed_away(clip, tracks, span):
    verdict = Ocr().decide(clip, evidence(*tracks))
    assert verdict.keep
    assert verdict.span == span
    assert verdict.crop is None
    head, tail = span[0], SECONDS - span[1]
    assert (f"first {head:.2f} s" in verdict.span_reason) == (head > 0)
    assert (f"last {tail:.2f} s" in verdict.span_reason) == (tail > 0)
    assert "which text covers" in verdict.span_reason
    assert verdict.score
    assert verdict.score > 8, "the share of the whole clip's worst moment"
    assert not Ocr(max_trim_loss=0).decide(clip, evidence(*tracks)).keep


@pytest.mark.parametrize(
    "tracks",
    [
        [(TITLE, 0, 19)],
        [(TITLE, 0, 10)],  # 4.5 s of 10 would be left
        [(TITLE, 9, 11)],
        [(TITLE, 0, 3), ((160, 210, 480, 260), 0, 19)],  # text that stays is no title
        [(TITLE, first, first + 2) for first in range(0, 20, 3)],  # lines that replace each other
    ],
)
def test_other_text_drops_the_clip_as_before(clip, tracks):
    verdict = Ocr().decide(clip, evidence(*tracks))
    assert verdict == Ocr(max_trim_loss=0).decide(clip, evidence(*tracks))
    assert not verdict.keep


def test_thresholds_decide_what_is_left(clip):
    found = evidence((TITLE, 0, 5))
    assert Ocr(min_kept_s=7).decide(clip, found).span == (3.0, 10.0)
    assert not Ocr(min_kept_s=7.1).decide(clip, found).keep
    assert not Ocr(max_trim_loss=0.25).decide(clip, found).keep
    assert Ocr(max_overlay=0.2).decide(clip, found).span is None, "little enough to stay"


def test_what_keeps_more_pixels_times_seconds_is_done(clip):
    """A low line can be cropped away, which costs an eighth of each frame."""
    short, long = (Ocr().decide(clip, evidence((SUBTITLE, 0, last))) for last in (0, 5))
    assert (short.span, short.crop) == ((0.5, 10.0), None)
    assert long.span is None
    assert long.crop
    assert long.crop == Box(0, 0, 640, long.crop.height)


def test_a_mark_is_no_title(clip):
    marks = evidence((TITLE, 0, 3), fade=0.6, contrast=100.0)
    verdict = Ocr().decide(clip, marks)
    assert verdict.keep
    assert verdict.span is None


def test_samples_of_long_clips_are_further_apart(clip):
    """24 samples over 48 s, at 1 s, 3 s, 5 s ..."""
    long = replace(clip, end_s=clip.start_s + 48)
    found = evidence((TITLE, 0, 19))
    # the frame at 5 s begins a little before it
    found |= {"track_first_s": [0.98], "track_last_s": [4.97]}
    assert Ocr().decide(long, found).span == (7.0, 48.0)
