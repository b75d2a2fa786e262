"""Times of frames: where PTS fall, are missing, jump or restart."""

from fractions import Fraction

import numpy as np
import pytest

from wanctl.video.frames import BY_DTS, BY_PTS, BY_RATE
from wanctl.video.scanning.clock import make_timeline

BASE, RATE = Fraction(1, 1000), Fraction(25)


def timeline(pts, dts=None, base=BASE, last=40):
    dts = pts if dts is None else dts
    found = make_timeline(list(pts), list(dts), last, base, RATE)
    assert len(found.pts) == len(found.durations) == len(pts)
    assert np.all(np.diff(found.pts) > 0)
    assert np.all(found.durations > 0)
    return found


def seconds(found):
    return (found.pts - found.pts[0]) * float(found.time_base)


def test_pts_that_rise_are_taken_as_they_are():
    found = timeline([-80, -40, 0, 40, 90, 120])
    assert (found.clock, found.time_base) == ("", BASE)
    assert found.pts.tolist() == [-80, -40, 0, 40, 90, 120]
    assert not found.breaks.any()
    assert not found.unplaced.any()


def test_a_gap_breaks_and_its_frame_is_shown_for_the_usual_time():
    found = timeline([0, 40, 80, 3_600_000, 3_600_040])
    assert np.flatnonzero(found.breaks).tolist() == [3]
    assert found.durations.tolist() == [40, 40, 40, 40, 40]
    assert found.longest_s == pytest.approx(3599.92)
    assert found.clock == ""


def test_slow_footage_has_no_gaps():
    assert not timeline([0, 10_000, 20_000, 30_000], last=10_000).breaks.any()
    assert not timeline([0, 40, 80, 980, 1020, 1060]).breaks.any()  # 0.9 s


def test_frames_out_of_coding_order_are_placed_by_dts():
    pts = [1, 3, 4, 2, 6, 7, 5, 9, 10, 8]
    dts = [2, 3, 4, 5, 6, 7, 8, 9, None, None]
    found = timeline(pts, dts, Fraction(1, 25), last=1)
    assert found.clock == BY_DTS
    assert np.allclose(np.diff(seconds(found)), 0.04)
    assert not found.unplaced.any()


def test_without_any_times_frames_are_spaced_by_the_rate():
    found = timeline([None] * 30)
    assert found.clock == BY_RATE
    assert np.allclose(np.diff(seconds(found)), 0.04)
    assert not found.unplaced.any()


@pytest.mark.parametrize("second", [0, -5000, 700, 1_000])
def test_a_clock_that_restarts_continues_and_breaks(second):
    pts = [*range(1000, 3000, 40), *range(second, second + 2000, 40)]
    found = timeline(pts)
    assert found.clock == BY_PTS
    assert np.flatnonzero(found.breaks).tolist() == [50]
    assert np.allclose(np.diff(seconds(found)), 0.04)
    assert not found.unplaced.any()


def test_a_clock_that_restarts_often_keeps_all_frames():
    found = timeline([time for _ in range(20) for time in range(0, 2000, 40)])
    assert found.breaks.sum() == 19
    assert seconds(found)[-1] == pytest.approx(999 * 0.04)


@pytest.mark.parametrize("fault", [360, 120, None])
def test_a_frame_with_a_wrong_time_is_placed_between_its_neighbours_and_counted(fault):
    pts = list(range(0, 4000, 40))
    pts[10] = fault
    found = timeline(pts)
    assert np.flatnonzero(found.unplaced).tolist() == [10]
    assert not found.breaks.any()
    assert np.allclose(np.diff(seconds(found)), 0.04)


def test_one_frame_from_the_future_does_not_take_the_others_along():
    pts = list(range(0, 4000, 40))
    pts[10] = 10**7
    found = timeline(pts)
    assert np.flatnonzero(found.breaks).tolist() == [10, 11]
    assert not found.unplaced.any()
    assert found.durations.sum() * found.time_base == pytest.approx(4.0)


def test_times_in_disorder_are_counted_as_unplaced():
    random = np.random.default_rng(3)
    assert timeline(random.permutation(100) * 40).unplaced.all()


@pytest.mark.parametrize("together", [2, 3])
def test_frames_that_share_the_ticks_of_a_coarse_clock_are_spread(together):
    found = timeline([40 * together * (i // together) for i in range(60)])
    assert found.clock == BY_RATE
    assert np.allclose(np.diff(seconds(found)), 0.04)
    assert not found.unplaced.any()


@pytest.mark.parametrize("every", [5, 12])
def test_frames_are_spread_where_one_in_some_has_a_time(every):
    found = timeline([40 * i if i % every == 0 else None for i in range(100)])
    assert found.clock == BY_RATE
    assert np.allclose(np.diff(seconds(found)), 0.04)
    assert not found.unplaced.any()


def test_such_times_count_for_more_than_a_wrong_rate():
    pts = [20 * i if i % 10 == 0 else None for i in range(100)]
    assert np.allclose(np.diff(seconds(timeline(pts))), 0.02)


def test_times_of_few_frames_at_no_steady_pace_are_not_used():
    pts: list[int | None] = [None] * 100
    pts[0], pts[30], pts[60], pts[90] = 0, 400, 3000, 3100
    assert np.allclose(np.diff(seconds(timeline(pts))), 0.04)


def test_frames_squeezed_into_one_moment_are_unplaced():
    pts = [*range(0, 1000, 40), *range(1001, 1011), *range(1050, 2050, 40)]
    assert np.flatnonzero(timeline(pts).unplaced).tolist() == [*range(26, 35)]


def test_times_at_the_ends_of_the_integers_do_not_overflow():
    found = timeline([-(2**63) + 1, 2**63 - 2, 0, 40, 80, 120, 160, 200, 240, 280])
    assert seconds(found)[-1] < 10


def test_a_single_frame_has_a_duration():
    assert timeline([7], last=0).durations.tolist() == [40]  # by the frame rate
    assert timeline([None], last=0).clock == BY_RATE
