from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.curate.split.shots import Transition
from wanctl.video.probe import Scan, VideoInfo

SOURCE = "/footage/a.mp4"


def scan_of(num_frames, *, strip_step=1, tick=512, fps=25):
    info = VideoInfo(
        path=Path("/footage/a.mp4"), codec="h264", pix_fmt="yuv420p", coded_width=64,
        coded_height=48, width=64, height=48, rotation=0, sar=(1, 1), time_base=(1, tick * fps),
        fps=fps, num_frames=num_frames, duration_s=num_frames / fps, vfr=False, has_audio=False,
        audio_rate=0, corrupt_share=0.0, content_hash="ab" * 32,
    )  # fmt: skip
    index = np.arange(0, num_frames, strip_step)
    return Scan(
        info,
        pts=np.arange(num_frames) * tick,
        durations=np.full(num_frames, tick),
        strip=np.zeros((len(index), 27, 48, 3), np.uint8),
        strip_index=index,
        change=np.full(num_frames, 9.0),
        combed=np.zeros(num_frames, np.int8),
    )


def frames_of(rows, tick=512):
    return [(row["start_pts"] // tick, row["end_pts"] // tick) for row in rows]


def test_without_transitions_the_file_is_one_clip():
    (row,) = make_clips(scan_of(100), SOURCE, [], SplitRules(2, 0.5, None)).rows
    assert (row["start_pts"], row["end_pts"], row["num_frames"]) == (0, 100 * 512, 100)
    assert row["start_s"] == 0
    assert row["end_s"] == pytest.approx(4.0)


def test_trimming_touches_transitions_and_not_the_ends_of_the_file():
    rows = make_clips(scan_of(100), SOURCE, [Transition(39, 39)], SplitRules(2, 0.1, None)).rows
    assert frames_of(rows) == [(0, 38), (42, 100)]


def test_gradual_transitions_belong_to_no_clip():
    rows = make_clips(scan_of(100), SOURCE, [Transition(40, 60)], SplitRules(0, 0.1, None)).rows
    assert frames_of(rows) == [(0, 41), (61, 100)]


def test_a_strip_of_half_the_frames_maps_back_to_source_frames():
    rows = make_clips(
        scan_of(100, strip_step=2), SOURCE, [Transition(19, 19)], SplitRules(2, 0.1, None)
    ).rows
    # strip frames 19 and 20 are source frames 38 and 40
    assert frames_of(rows) == [(0, 37), (42, 100)]


def test_short_shots_make_no_clip_and_are_reported():
    split = make_clips(scan_of(100), SOURCE, [Transition(9, 9)], SplitRules(0, 1.0, None))
    assert frames_of(split.rows) == [(10, 100)]
    assert split.short_s == [pytest.approx(0.4)]


def test_pieces_of_footage_of_varying_rate_are_equal_in_time():
    slow_then_quick = replace(
        scan_of(100),
        pts=np.concatenate([np.arange(50) * 1536, 50 * 1536 + np.arange(50) * 512]),
        durations=np.repeat([1536, 512], 50),
    )
    rows = make_clips(slow_then_quick, SOURCE, [], SplitRules(0, 0.1, 4.0)).rows
    assert [row["end_s"] - row["start_s"] for row in rows] == pytest.approx([4.0, 4.0], abs=0.12)


def test_long_shots_are_cut_into_equal_pieces():
    rows = make_clips(scan_of(100), SOURCE, [], SplitRules(0, 0.5, 1.5)).rows
    assert frames_of(rows) == [(0, 33), (33, 67), (67, 100)]
    assert len({row["id"] for row in rows}) == 3
    assert {row["shot"] for row in rows} == {0}


def test_transitions_at_the_ends_leave_no_empty_clip():
    ends = [Transition(0, 4), Transition(95, 99)]
    assert frames_of(make_clips(scan_of(100), SOURCE, ends, SplitRules(0, 0.1, None)).rows) == [
        (5, 96)
    ]


def with_marks(scan, **marks):
    """The scan with marked frames: `breaks` or `unfit`, lists of indices."""
    arrays = {name: np.isin(np.arange(len(scan.pts)), at) for name, at in marks.items()}
    return replace(scan, **arrays)


def test_a_break_ends_a_clip_and_counts_as_a_shot():
    rows = make_clips(
        with_marks(scan_of(100), breaks=[30, 60]), SOURCE, [], SplitRules(2, 0.1, None)
    ).rows
    assert frames_of(rows) == [(0, 30), (30, 60), (60, 100)]
    assert [row["shot"] for row in rows] == [0, 1, 2]
    assert [row["first_frame"] for row in rows] == [0, 30, 60]


def test_damaged_frames_and_frames_without_a_time_are_in_no_clip():
    unfit = [0, 1, 40, 41, 42, 99]
    rows = make_clips(
        with_marks(scan_of(100), unfit=unfit), SOURCE, [], SplitRules(2, 0.1, None)
    ).rows
    assert frames_of(rows) == [(2, 40), (43, 99)]
    assert {row["corrupt_share"] for row in rows} == {0.0}


def test_breaks_and_damage_inside_trimmed_transitions_are_bounded_by_them():
    marked = with_marks(scan_of(100), breaks=[41], unfit=[50])
    rows = make_clips(marked, SOURCE, [Transition(39, 39)], SplitRules(2, 0.1, None)).rows
    assert frames_of(rows) == [(0, 38), (42, 50), (51, 100)]


def test_a_file_that_is_unfit_throughout_has_no_clips():
    marked = with_marks(scan_of(30), unfit=list(range(30)))
    assert make_clips(marked, SOURCE, [], SplitRules(0, 0.0, None)) == ([], [])


def test_a_gap_is_in_no_clip_and_in_no_duration():
    pts = np.concatenate([np.arange(50), 90_000 + np.arange(50)]) * 512
    scan = with_marks(replace(scan_of(100), pts=pts), breaks=[50])
    rows = make_clips(scan, SOURCE, [], SplitRules(0, 0.1, 1.5)).rows
    assert sum(row["num_frames"] for row in rows) == 100
    assert sum(row["end_s"] - row["start_s"] for row in rows) == pytest.approx(4.0)
    assert {round(row["fps"]) for row in rows} == {25}


@pytest.mark.parametrize("max_s", [0.3, 0.5, 1.0, 1.7])
def test_no_clip_is_longer_than_allowed_whatever_the_frame_rate_does(max_s):
    random = np.random.default_rng(4)
    durations = random.choice([256, 512, 2560, 10_000], 200)
    scan = replace(scan_of(200), pts=np.cumsum(durations) - durations[0], durations=durations)
    scan = replace(scan, durations=np.append(np.diff(scan.pts), 512))
    rows = make_clips(scan, SOURCE, [], SplitRules(0, 0.0, max_s)).rows
    assert sum(row["num_frames"] for row in rows) == 200
    for row in rows:
        # a single frame that is displayed for longer cannot be divided
        assert row["end_s"] - row["start_s"] <= max_s + 0.021 or row["num_frames"] == 1
