"""The encoder of TAEHV: video to latents, with as few parameters as the tiny decoder.

As there, all layers are 2-D convolutions over frames except a block that also sees its own input of
the frame before, and pools that join neighbouring frames. Latent frame i comes from frames 4i to
4i+3 and those before; the VAE's comes from frames 4i-3 to 4i. So the network looks ahead, and a
video of 4n+1 frames is continued by its last frame.

Shape suffixes as in autoencoder.py, and N = B * T frames.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.vae.tiny_decoder import BLOCKS_PER_LEVEL, MemBlock, Memory, conv3x3
from wanctl.model.variants import RGB_CHANNELS

ENCODER_WIDTH = 64  # of the published files


@dataclass(frozen=True)
class TinyEncoderShape:
    """Sizes of a tiny encoder.

    Attributes:
        z_dim: latent channels.
        patch: pixels per side that enter as channels.
        width: channels of all levels.
        time: frames that each level joins to one, 1 or 2.
    """

    z_dim: int = 16
    patch: int = 1
    width: int = ENCODER_WIDTH
    time: tuple[int, ...] = (2, 2, 1)

    @property
    def temporal_stride(self) -> int:
        """Frames per latent frame."""
        return math.prod(self.time)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent side: each level halves it."""
        return self.patch * 2 ** len(self.time)


class TPool(nn.Module):
    """Every `factor` frames as one, by a 1x1 convolution."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(channels * factor, channels, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N / factor, C, H, W)."""
        return self.conv(x_NCHW.unflatten(0, (-1, self.factor)).flatten(1, 2))


class TinyEncoder(nn.Module):
    """Video to normalised latents, as the transformer sees them."""

    def __init__(self, shape: TinyEncoderShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        layers: list[nn.Module] = [conv3x3(RGB_CHANNELS * shape.patch**2, width), nn.ReLU()]
        for factor in shape.time:
            layers += [TPool(width, factor), conv3x3(width, width, stride=2, bias=False)]
            layers.extend(MemBlock(width, width) for _ in range(BLOCKS_PER_LEVEL))
        layers.append(conv3x3(width, shape.z_dim))
        self.encoder = nn.ModuleList(layers)

    def forward(self, video_BCTHW: Tensor, memory: Memory | None = None) -> Tensor:
        """Encode a whole clip, or the chunk that follows those in `memory`.

        Args:
            video_BCTHW: in [-1, 1]; T is a multiple of the temporal stride.
            memory: of the chunks before; None for a clip at once.

        Returns:
            (B, Z, T / stride, Y, X).
        """
        batch = video_BCTHW.shape[0]
        pixels_BCTHW = (video_BCTHW.to(self._dtype) + 1) / 2  # the network's range is [0, 1]
        x_NCHW = F.pixel_unshuffle(pixels_BCTHW.transpose(1, 2).flatten(0, 1), self.shape.patch)
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        for layer in self.encoder:
            memorises = isinstance(layer, MemBlock)
            x_NCHW = layer(x_NCHW, batch, memory) if memorises else layer(x_NCHW)
        return x_NCHW.unflatten(0, (batch, -1)).transpose(1, 2)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
