"""How close a video is to its source, frame by frame: PSNR, SSIM, MS-SSIM, perceptual distance.

Videos are (3, T, H, W) float in [-1, 1]; what lies outside is clamped.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Peak-to-peak range of a video in [-1, 1].
PEAK = 2.0
# Bounds the result for equal videos, at 106 dB.
MIN_SQUARED_ERROR = 1e-10
# At most so many pixels, and at least a frame, at once: ST-LPIPS keeps 64 channels of each pixel.
PIXELS_AT_ONCE = 2**20
# Five scales with a window of 11 pixels at the smallest: torchmetrics takes no smaller images.
MS_SSIM_MIN_SIDE_PX = 176
# The window of SSIM.
WINDOW_PX, SIGMA_PX = 11, 1.5


def psnr(video: Tensor, source: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, of the squared error over all frames together."""
    error = (video.float().clamp(-1, 1) - source.float()).square().mean()
    return (10 * torch.log10(PEAK**2 / error.clamp(min=MIN_SQUARED_ERROR))).item()


def ssim(video: Tensor, source: Tensor) -> float | None:
    """SSIM (Wang et al. 2004), mean over the windows that lie in a frame, and over frames.

    The Gaussian window has 11 pixels and sigma 1.5. None where a side is under 11 px.
    """
    if min(source.shape[-2:]) < WINDOW_PX:
        return None
    return _mean_over_frames(_ssim_of_images, video, source)


def ms_ssim(video: Tensor, source: Tensor) -> float | None:
    """MS-SSIM (Wang et al. 2003: five scales), mean over frames; None where a side is under 176.

    That of torchmetrics, which includes windows that reach over the edge, mirrored there.
    """
    if min(source.shape[-2:]) < MS_SSIM_MIN_SIDE_PX:
        return None
    # imports torchvision and the compiler, 5 s of CPU time: too much for an evaluation in training,
    # so that SSIM is written out here
    from torchmetrics.functional.image.ssim import (  # noqa: PLC0415
        multiscale_structural_similarity_index_measure,
    )

    return _mean_over_frames(
        lambda x, y: multiscale_structural_similarity_index_measure(
            x, y, data_range=PEAK, reduction="none"
        ),
        video,
        source,
    )


def perceptual_distance(
    distance: Callable[[Tensor, Tensor], Tensor], video: Tensor, source: Tensor
) -> float:
    """Mean over frames of a distance of images, as `perceptual.PerceptualDistance`."""
    return _mean_over_frames(distance, video, source)


def _ssim_of_images(x: Tensor, y: Tensor) -> Tensor:
    """(N,) SSIM of images (N, 3, H, W) in [-1, 1]."""
    offsets = torch.arange(WINDOW_PX, device=x.device) - WINDOW_PX // 2
    taps = torch.exp(-offsets.square() / (2 * SIGMA_PX**2))
    taps = taps / taps.sum()
    # one channel each in this layout: on CPU 50 times as fast as one image each
    maps = torch.cat((x, y, x * x, y * y, x * y), 1).contiguous(memory_format=torch.channels_last)
    channels = maps.shape[1]
    rows = F.conv2d(maps, taps.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
    means = F.conv2d(rows, taps.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    x_mean, y_mean, x_square, y_square, product = means.chunk(5, dim=1)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    brightness = (2 * x_mean * y_mean + c1) / (x_mean.square() + y_mean.square() + c1)
    variances = x_square - x_mean.square() + y_square - y_mean.square()
    contrast = (2 * (product - x_mean * y_mean) + c2) / (variances + c2)
    return (brightness * contrast).mean(dim=(1, 2, 3))


def _mean_over_frames(
    measure: Callable[[Tensor, Tensor], Any], video: Tensor, source: Tensor
) -> float:
    """Mean of a measure of images (N, 3, H, W), (N, 3, H, W) -> (N,)."""
    images = [x.float().clamp(-1, 1).transpose(0, 1) for x in (video, source)]
    count = max(1, PIXELS_AT_ONCE // source[0, 0].numel())
    with torch.no_grad():
        values = [
            measure(x.contiguous(), y.contiguous()).reshape(-1)
            for x, y in zip(*(each.split(count) for each in images), strict=True)
        ]
    return torch.cat(values).mean().item()
