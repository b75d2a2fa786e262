"""Two frames at once against the definition of the causal convolution."""

import pytest
import torch

from wanctl.model.vae.ops import winograd
from wanctl.model.vae.ops.conv import causal_conv3d, plain_causal_conv3d


def wide(frames: int, kernel: int = 3):
    """A convolution large enough that `pays` says yes."""
    generator = torch.Generator().manual_seed(0)
    size = (1, 96, frames, 16, 16)
    video = torch.randn(size, generator=generator).contiguous(memory_format=torch.channels_last_3d)
    channels = 96 if kernel == 3 else 768
    weight = torch.randn(channels, 96, 3, kernel, kernel, generator=generator)
    return video, weight / (96 * 3 * kernel**2) ** 0.5, torch.randn(channels, generator=generator)


@pytest.mark.parametrize("kernel", [3, 1])
@pytest.mark.parametrize("past_frames", [None, 1, 2])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_every_length_equals_the_definition(frames, past_frames, kernel, monkeypatch):
    video, weight, bias = wide(frames, kernel)
    past = None
    if past_frames is not None:
        past = wide(past_frames + 1, kernel)[0][:, :, 1:] * 0.7
    taken = []
    original = winograd.two_at_once
    monkeypatch.setattr(winograd, "two_at_once", lambda *a: taken.append(1) or original(*a))
    with torch.no_grad():
        got = causal_conv3d(video, weight, bias, past, training=False)
        expected = plain_causal_conv3d(
            video.double(), weight.double(), bias.double(), None if past is None else past.double()
        )
    # Measured: 7e-6 by adding taps and up to 8e-6 by pairs; outputs reach 5.
    torch.testing.assert_close(got, expected.float(), atol=1.5e-5, rtol=0)
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    assert bool(taken) == (frames + (past_frames or 0) >= 4)


def test_training_does_not_use_winograd(monkeypatch):
    video, weight, bias = wide(4)
    monkeypatch.setattr(winograd, "two_at_once", None)
    causal_conv3d(video, weight.requires_grad_(), bias, training=True).sum().backward()
    assert weight.grad is not None
