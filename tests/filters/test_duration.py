"""Length in seconds and in frames."""

import numpy as np
import pytest

from wanctl_filters.duration import Duration


def _judge(filter_, clip):
    return filter_.decide(clip, filter_.measure(clip, None))


@pytest.mark.parametrize(
    ("seconds", "settings", "keep"),
    [
        (3.96, {}, False),
        (4.0, {}, True),
        (600.0, {}, True),
        (61.0, {"max_s": 60}, False),
        (1.0, {"min_s": 0}, True),
    ],
)
def test_bounds_in_seconds(row, seconds, settings, keep):
    clip = row(np.zeros((240, 8, 8, 3)), end_s=seconds)
    verdict = _judge(Duration(**settings), clip)
    assert verdict.keep == keep
    assert verdict.score == pytest.approx(seconds)
    assert keep == (not verdict.reason)


def test_a_slide_show_is_long_but_has_few_frames(row):
    clip = row(np.zeros((4, 8, 8, 3)), fps=0.5)
    verdict = _judge(Duration(min_frames=5), clip)
    assert verdict.reason == "has 4 frames, at least 5 wanted"
