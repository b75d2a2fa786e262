"""What previews write, without a model."""

import pytest
import torch

from wanctl.sample.denoise.previews import MAX_SIDE, _shrunk


@pytest.mark.parametrize(
    ("size", "expected"), [((480, 832), (185, 320)), ((64, 96), (64, 96)), ((1280, 8), (320, 2))]
)
def test_large_previews_are_shrunk_to_their_mean(size, expected):
    video = torch.rand(3, 2, *size)
    small = _shrunk(video)
    assert small.shape == (3, 2, *expected)
    assert max(small.shape[2:]) <= MAX_SIDE
    torch.testing.assert_close(small.mean((2, 3)), video.mean((2, 3)), atol=0.01, rtol=0)
