"""Loss terms, each per sample: (B,) fp32, so that the loop can average them in any grouping.

Videos are (B, 3, T, H, W) in [-1, 1].
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from wanctl.device import to_device
from wanctl.metrics.lpips_vgg import VGGDistance
from wanctl.metrics.perceptual import PerceptualDistance
from wanctl.train.objective import per_sample_mean
from wanctl.train.rng import MicrobatchIndex, keyed_generator

# Peak-to-peak range of a video in [-1, 1].
PEAK = 2.0
# The networks keep five activations per frame; more frames at once only cost memory.
FRAMES_AT_ONCE = 32


def l1(reconstruction: Tensor, video: Tensor) -> Tensor:
    """Mean absolute difference."""
    return per_sample_mean((reconstruction - video).abs())


def kl(mean: Tensor, logvar: Tensor, reduction: str = "position") -> Tensor:
    """KL divergence of the posterior from the standard normal, in nats.

    0.5 * (mean^2 + variance - 1 - log variance) (arXiv 1312.6114, appendix B).

    Args:
        mean: (B, Z, T, Y, X).
        logvar: the same shape.
        reduction: `position`: summed over channels and averaged over positions, so that the weight
            means the same for every clip size; `sample`: summed over channels and positions (latent
            diffusion), T * Y * X times as much; `mean`: averaged over both, a Z-th.
    """
    divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
    return per_sample_mean(divergence) * kl_factor(reduction, mean.shape[1:])


def kl_factor(reduction: str, shape: Sequence[int]) -> int:
    """What a reduction gives for a mean of 1 nat; `shape` is (Z, T, Y, X) of the latents."""
    return {"mean": 1, "position": shape[0], "sample": math.prod(shape)}[reduction]


def psnr(reconstruction: Tensor, video: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, of frames clamped to [-1, 1]."""
    return decibels(squared_error(reconstruction, video))


def squared_error(reconstruction: Tensor, video: Tensor) -> Tensor:
    """Mean squared difference, of frames clamped to [-1, 1]."""
    return per_sample_mean((reconstruction.clamp(-1, 1) - video).square())


def decibels(error: Tensor) -> Tensor:
    """PSNR in dB for a mean squared error."""
    return 10 * torch.log10(PEAK**2 / error.clamp(min=1e-10))


def perceptual_distance(network: str, weights: Sequence[Path]) -> nn.Module:
    """The frozen network of the perceptual term: `st-lpips`, or `lpips-vgg` from its files."""
    return VGGDistance(weights) if network == "lpips-vgg" else PerceptualDistance()


def perceptual(
    distance: nn.Module, reconstruction: Tensor, video: Tensor, frames: Tensor | None
) -> Tensor:
    """Perceptual distance averaged over frames.

    Args:
        distance: the frozen network: images x, y (N, 3, H, W) -> (N,).
        reconstruction: (B, 3, T, H, W); gradients flow here.
        video: the same shape.
        frames: indices of the frames that are compared; None: all.
    """
    if frames is not None:
        frames = to_device(frames, video.device)
        reconstruction, video = reconstruction[:, :, frames], video[:, :, frames]
    batch = video.shape[0]
    images = [x.transpose(1, 2).flatten(0, 1) for x in (reconstruction, video)]
    chunks = zip(*(x.split(FRAMES_AT_ONCE) for x in images), strict=True)
    return torch.cat([distance(x, y) for x, y in chunks]).view(batch, -1).mean(dim=1)


def compared_frames(count: int | None, frames: int, microbatch: MicrobatchIndex) -> Tensor | None:
    """Indices of the frames whose perceptual distance is computed in a step; None: all.

    Args:
        count: how many, drawn by the micro-batch's position; None: all.
        frames: of the clip.
        microbatch: keys the draw.
    """
    if count is None or count >= frames:
        return None
    key = ("perceptual frames", microbatch.step, microbatch.micro)
    return torch.randperm(frames, generator=keyed_generator(microbatch.seed, *key))[:count]
