"""The frames of a clip are found again: by PTS where PTS rise, else by counting."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.reading import BOUNDS, read
from tests.unit.video.synthetic.recipes import FRAMES, Recipe, number_of
from wanctl.video import seek
from wanctl.video.decode import iter_window, read_frames
from wanctl.video.frames import FrameRange, range_of, trimmed
from wanctl.video.probe import VideoError, scan

PACKED = Path(__file__).parents[2] / "data/packed_b_frames.avi"


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return FootageMaker(tmp_path_factory.mktemp("sought"))


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
@pytest.mark.parametrize("b_frames", [1, 2, 3])
def test_an_avi_with_b_frames_is_read_whole(maker, codec, b_frames):
    found = read(maker.make(Recipe("avi", codec, b_frames)))
    assert found.numbers == list(range(FRAMES))
    assert found.scan.info.fps == pytest.approx(25)
    assert not found.scan.info.vfr


def test_packed_b_frames_are_read_whole():
    found = scan(PACKED)
    assert (found.info.num_frames, found.info.fps, found.info.vfr) == (75, pytest.approx(25), False)
    frames = read_frames(PACKED, found.pts.tolist(), FrameRange(found.info.clock, 0, 75))
    # every picture is three columns on: repeated or swapped frames would not be
    steps = np.abs(np.diff(frames[:, :, :-4].astype(int), axis=0))
    moved = steps.mean(axis=(1, 2, 3))
    assert moved.min() > 1
    assert moved.max() < 4 * moved.min()


@pytest.mark.parametrize("ending", ["ts", "mpg", "h264", "m2v"])
def test_joined_recordings_are_read_whole(maker, ending):
    codec = "h264" if ending in ("ts", "h264") else "mpeg2video"
    found = read(maker.make(Recipe(ending, codec, 2, clock="joined")))
    assert found.numbers == list(range(FRAMES))
    assert [number_of(frame) for frame in found.whole] == list(range(FRAMES))
    if ending in ("ts", "mpg"):
        assert np.flatnonzero(found.scan.breaks).tolist() == [FRAMES // 2]


def test_clips_in_order_of_time_decode_the_file_once(maker, monkeypatch):
    path = maker.make(Recipe("avi", "h264", 2))
    found = scan(path, 30, BOUNDS)
    opened = []

    def counted(source):
        opened.append(source)
        return open_video(source)

    open_video = seek.open_video
    monkeypatch.setattr(seek, "open_video", counted)
    for first in (0, 9, 20, 30, 3):
        pts = found.pts[first : first + 5].tolist()
        frames = read_frames(path, pts, FrameRange(found.info.clock, first, 5))
        assert [number_of(frame) for frame in frames] == list(range(first, first + 5))
    assert len(opened) == 2  # and once more to go back


def test_a_reader_that_stops_early_does_not_confuse_the_next(maker):
    path = maker.make(Recipe("avi", "mpeg4", 2))
    found = scan(path, 30, BOUNDS)
    span = (int(found.pts[5]), int(found.pts[25]))
    known = FrameRange(found.info.clock, 5, 20)
    for _ in range(2):
        frames = iter_window(path, *span, fps=25, frame_range=known)
        assert [number_of(next(frames)) for _ in range(3)] == [5, 6, 7]
        del frames
    whole = iter_window(path, *span, fps=25, frame_range=known)
    assert [number_of(frame) for frame in whole] == list(range(5, 25))


def test_a_file_that_has_lost_frames_since_is_an_error(maker):
    path = maker.make(Recipe("mkv", "h264", 2))
    found = scan(path)
    span = (int(found.pts[0]), int(found.pts[-1]) + 40)
    with pytest.raises(VideoError, match="36 of 37 frames are there; the file has changed"):
        list(iter_window(path, *span, fps=25, frame_range=FrameRange("", 0, FRAMES + 1)))


def test_no_frame_is_shown_without_what_it_refers_to(maker):
    """Seeking in a transport stream ends in the middle of a group of pictures."""
    path = maker.make(Recipe("ts", "mpeg4"))
    found = scan(path)
    (frame,) = read_frames(path, [int(found.pts[18])])
    assert number_of(frame) == 18


@pytest.mark.parametrize("ending", ["mkv", "avi", "ts"])
@pytest.mark.parametrize("span_s", [(0.52, 1.44), (0.0, 0.6), (0.8, 99.0)])
def test_a_trimmed_clip_shows_the_frames_of_its_span_alone(maker, ending, span_s):
    """Seconds from the clip's first frame, the fifth of the file; 25 frames a second."""
    path = maker.make(Recipe(ending, "h264", 2))
    found = scan(path, 30, BOUNDS)
    start, end = int(found.pts[5]), int(found.pts[34] + found.durations[34])
    tick_s = found.info.time_base[0] / found.info.time_base[1]
    row = trimmed({
        "start_pts": start, "end_pts": end, "start_s": start * tick_s, "end_s": end * tick_s,
        "num_frames": 30, "first_frame": 5, "clock": found.info.clock,
        "span_start_s": span_s[0], "span_end_s": span_s[1],
    })  # fmt: skip
    numbers = [
        number_of(frame)
        for frame in iter_window(
            path, row["start_pts"], row["end_pts"], fps=25, frame_range=range_of(row)
        )
    ]
    assert numbers == list(range(5 + round(25 * span_s[0]), 5 + min(30, round(25 * span_s[1]))))
    assert row["num_frames"] == len(numbers)


def test_a_trimmed_clip_is_still_counted(maker):
    path = maker.make(Recipe("mkv", "h264", 2))
    found = scan(path)
    end = int(found.pts[-1]) + 40
    row = {
        "start_pts": 0, "end_pts": end, "start_s": 0.0, "end_s": end / 1000,
        "num_frames": FRAMES + 1, "first_frame": 0, "clock": "", "span_start_s": 0.5,
        "span_end_s": end / 1000,
    }  # fmt: skip
    row = trimmed(row)
    span = (row["start_pts"], row["end_pts"])
    with pytest.raises(VideoError, match="36 of 37 frames are there; the file has changed"):
        list(iter_window(path, *span, fps=25, frame_range=range_of(row)))
