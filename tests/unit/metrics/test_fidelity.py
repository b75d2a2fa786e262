"""PSNR, SSIM and MS-SSIM against scikit-image and formulas written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from wanctl.metrics.fidelity import ms_ssim, perceptual_distance, psnr, ssim


def pair(frames=3, height=40, width=56, noise=0.15):
    """A smooth random video and a noisy copy, both within [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(frames, 3, height // 8, width // 8, generator=generator) * 1.6 - 0.8
    source = F.interpolate(coarse, (height, width), mode="bicubic").transpose(0, 1)
    source = source.clamp(-0.9, 0.9).contiguous()
    video = source + noise * torch.randn(source.shape, generator=generator)
    return video.clamp(-1, 1), source


def test_psnr_is_that_of_all_frames_together_and_clamps():
    video, source = pair()
    expected = peak_signal_noise_ratio(source.numpy(), video.numpy(), data_range=2)
    assert psnr(video, source) == pytest.approx(expected, abs=1e-4)
    bright = torch.ones(3, 1, 8, 8)
    assert psnr(bright + 5, bright) > 100, "what lies above white is shown as white"
    assert psnr(bright - 0.2, bright) == pytest.approx(20.0, abs=1e-3)


def test_ssim_is_scikit_images_mean_over_frames():
    video, source = pair(frames=5)
    expected = np.mean(
        [
            structural_similarity(
                source[:, t].numpy(), video[:, t].numpy(), data_range=2, channel_axis=0,
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            )
            for t in range(5)
        ]
    )  # fmt: skip
    assert ssim(video, source) == pytest.approx(expected, abs=1e-4)
    assert ssim(source[..., :10], source[..., :10]) is None, "the window is 11 px"


def by_hand(x, y):
    """MS-SSIM of images (N, C, H, W) in [-1, 1], Wang et al. 2003, one channel at a time."""
    taps = torch.exp(-(torch.arange(11) - 5.0).square() / (2 * 1.5**2))
    window = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    total = 1.0
    for level, beta in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        maps = [each.flatten(0, 1)[:, None] for each in (x, y)]
        a, b = (F.conv2d(each, window) for each in maps)
        aa, bb, ab = (
            F.conv2d(first * second, window)
            for first, second in ((maps[0], maps[0]), (maps[1], maps[1]), (maps[0], maps[1]))
        )
        contrast = (2 * (ab - a * b) + c2) / (aa - a * a + bb - b * b + c2)
        brightness = (2 * a * b + c1) / (a * a + b * b + c1)
        value = (contrast * brightness if level == 4 else contrast).mean()
        total = total * value**beta
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return float(total)


@pytest.mark.slow  # imports torchmetrics, 5 s
def test_ms_ssim_is_the_product_over_five_scales_and_needs_176_px():
    video, source = pair(frames=1, height=176, width=184)
    expected = by_hand(video.transpose(0, 1), source.transpose(0, 1))
    assert ms_ssim(video, source) == pytest.approx(expected, abs=2e-3)  # edges, see below
    # torchmetrics pads by reflection and then leaves the padded rim out, so that only the rim of
    # each scale's mean differs from the formula without padding
    assert ms_ssim(video[..., :175], source[..., :175]) is None


def test_a_distance_of_images_is_averaged_over_frames():
    video, source = pair(frames=9)
    distance = perceptual_distance(lambda x, y: (x - y).abs().amax(dim=(1, 2, 3)), video, source)
    expected = (video - source).abs().amax(dim=(0, 2, 3)).mean().item()
    assert distance == pytest.approx(expected, rel=1e-6)
