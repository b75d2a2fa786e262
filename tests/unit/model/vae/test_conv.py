"""The quick convolutions and the fused norm against their definitions, values and gradients."""

from functools import partial

import pytest
import torch

from wanctl.model.vae.ops.conv import (
    CausalConv3d,
    Stream,
    causal_conv3d,
    plain_causal_conv3d,
    plain_upsample_conv2d,
    upsample_conv2d,
)
from wanctl.model.vae.ops.norm import NormSiLU, one_kernel_norm_silu, plain_norm_silu


def clip(batch, channels, frames, height=6, width=10):
    video = torch.randn(batch, channels, frames, height, width)
    return video.contiguous(memory_format=torch.channels_last_3d).requires_grad_()


def assert_same_with_gradients(quick, plain, inputs):
    """Both give the same values and, for the same random gradient, the same gradients."""
    got, expected = quick(*inputs), plain(*inputs)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    upstream = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(got, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (1, 2), (1, 5), (2, 4)])
def test_causal_convolution(kernel, batch, frames):
    weight = torch.randn(6, 4, *kernel, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    inputs = (clip(batch, 4, frames), weight, bias)
    assert_same_with_gradients(partial(causal_conv3d, training=True), plain_causal_conv3d, inputs)


@pytest.mark.parametrize("past_frames", [1, 2])
def test_causal_convolution_that_continues(past_frames):
    past, chunk = clip(2, 4, past_frames), clip(2, 4, 3)
    weight, bias = torch.randn(6, 4, 3, 3, 3), torch.randn(6)
    got = causal_conv3d(chunk, weight, bias, past, training=False)
    expected = plain_causal_conv3d(chunk, weight, bias, past)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 1, 1)])
@pytest.mark.parametrize("past_frames", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_gradients_of_a_convolution_that_continues(kernel, past_frames, frames):
    weight = torch.randn(6, 4, *kernel, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    inputs = (clip(2, 4, frames), weight, bias, clip(2, 4, past_frames))
    assert_same_with_gradients(partial(causal_conv3d, training=True), plain_causal_conv3d, inputs)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (1, 4), (2, 3), (5,)])
def test_a_stream_carries_the_convolution_over_any_chunks(sizes):
    conv, video, stream = CausalConv3d(4, 6, (3, 3, 3)).eval(), clip(1, 4, 5), Stream()
    with torch.inference_mode():
        pieces = [conv(chunk, stream) for chunk in video.split(sizes, dim=2)]
        torch.testing.assert_close(torch.cat(pieces, dim=2), conv(video), atol=1e-5, rtol=0)


@pytest.mark.parametrize("detach", [False, True])
def test_a_detached_stream_ends_the_gradient_at_its_chunk(detach):
    conv, stream = CausalConv3d(4, 6, (3, 3, 3)), Stream(detach=detach)
    first, second = clip(1, 4, 3), clip(1, 4, 2)
    conv(first, stream)
    (gradient,) = torch.autograd.grad(conv(second, stream).sum(), first, allow_unused=True)
    assert (gradient is None) == detach


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 6)])
def test_upsampling_convolution(size):
    images = torch.randn(3, 8, *size).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 8, 3, 3, requires_grad=True)
    inputs = (images.requires_grad_(), weight, torch.randn(4, requires_grad=True))
    assert_same_with_gradients(upsample_conv2d, plain_upsample_conv2d, inputs)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_norm_with_silu(scale):
    norm = NormSiLU(8)
    torch.nn.init.uniform_(norm.gamma, 0.5, 1.5)
    video = (scale * clip(2, 8, 3).detach()).requires_grad_()
    got, expected = norm(video), plain_norm_silu(video, norm.gamma)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    upstream = torch.randn_like(expected)
    inputs = (video, norm.gamma)
    by_video, by_gamma = torch.autograd.grad(got, inputs, upstream)
    true_by_video, true_by_gamma = torch.autograd.grad(expected, inputs, upstream)
    torch.testing.assert_close(by_video * scale, true_by_video * scale, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(by_gamma, true_by_gamma, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "worst"), [(torch.float32, 2e-7), (torch.float16, 5e-4), (torch.bfloat16, 4e-3)]
)
def test_the_norm_of_gpus_is_the_definition(dtype, worst):
    """Relative to the definition in fp64; measured 0.8e-7, 3.2e-4, 2.6e-3."""
    video, gamma = clip(2, 96, 3).detach().to(dtype), torch.rand(96, 1, 1, 1).add(0.5).to(dtype)
    video[:, :, :, 0] = 0  # black
    video[:, :, 1] *= 1e-4
    got, expected = one_kernel_norm_silu(video, gamma), plain_norm_silu(video.double(), gamma)
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    assert not got[:, :, :, 0].any()
    assert (got.double() - expected).norm() / expected.norm() < worst


def test_black_pixels_stay_black_with_a_finite_gradient():
    norm, video = NormSiLU(4), torch.zeros(1, 4, 1, 2, 2, requires_grad=True)
    out = norm(video)
    out.sum().backward()
    assert not out.any()
    assert video.grad.isfinite().all()


def test_layers_keep_frames_as_channels_last_images():
    video = clip(1, 16, 3)
    for out in (NormSiLU(16)(video), CausalConv3d(16, 16, (3, 3, 3))(video)):
        assert out.is_contiguous(memory_format=torch.channels_last_3d)
