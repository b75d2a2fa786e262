"""Size and shape of the picture on screen."""

import numpy as np
import pytest

from wanctl_filters.resolution import Resolution


@pytest.mark.parametrize(
    ("width", "height", "settings", "keep"),
    [
        (640, 360, {}, True),
        (360, 640, {}, True),
        (176, 144, {}, False),
        (176, 144, {"min_short_px": 128}, True),
        (1600, 400, {}, False),
        (400, 1600, {}, False),
        (640, 360, {"min_height_px": 480}, False),
        (640, 360, {"min_width_px": 641}, False),
    ],
)
def test_bounds(row, width, height, settings, keep):
    clip = row(np.zeros((1, 8, 8, 3)), width=width, height=height)
    filter_ = Resolution(**settings)
    verdict = filter_.decide(clip, filter_.measure(clip, None))
    assert verdict.keep == keep
    assert verdict.score == min(width, height)
    assert keep or f"{width}x{height}" in verdict.reason
