"""The blocks of the Wan video VAE: residual block, attention and the resamplers.

Parameter names are the published ones. Where those contain an index (`residual.2`), a ModuleDict
holds the layers that have parameters under their index; activations need no entry.

Shape suffixes: B batch, C channels, T frames, H rows, W columns, N = B * T images, L = H * W.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wanctl.model.vae.ops.conv import (
    CausalConv3d,
    Stream,
    UpsampleConv2d,
    frames_to_images,
    images_to_frames,
)
from wanctl.model.vae.ops.norm import NormSiLU, RMSNorm

KERNEL_3D = (3, 3, 3)
KERNEL_TIME = (3, 1, 1)


class Residual(nn.Module):
    """Twice norm, SiLU, convolution; plus the input, through a 1x1x1 convolution if C changes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.ModuleDict(
            {
                "0": NormSiLU(in_channels),
                "2": CausalConv3d(in_channels, out_channels, KERNEL_3D),
                "3": NormSiLU(out_channels),
                "6": CausalConv3d(out_channels, out_channels, KERNEL_3D),
            }
        )
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = CausalConv3d(in_channels, out_channels, (1, 1, 1))

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Return (B, out_channels, T, H, W)."""
        layers = self.residual
        h_BCTHW = layers["2"](layers["0"](x_BCTHW), stream)
        h_BCTHW = layers["6"](layers["3"](h_BCTHW), stream)
        if self.shortcut is not None:
            x_BCTHW = self.shortcut(x_BCTHW)
        # In place saves a new page for every 4 kB; autograd does not allow it here.
        return h_BCTHW + x_BCTHW if self.training else h_BCTHW.add_(x_BCTHW)


class Attention(nn.Module):
    """Self-attention inside each frame: one head over all pixels, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, spatial_dims=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        # Set by wanctl.distributed where processes divide the rows: (N, 1, L, C) keys or values of
        # this process's rows -> those of all rows.
        self.gather_rows: Callable[[Tensor], Tensor] | None = None

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Return (B, C, T, H, W); frames are independent, so `stream` is not used."""
        del stream
        x_NCHW = frames_to_images(x_BCTHW)
        qkv_NLC = self.to_qkv(self.norm(x_NCHW)).flatten(2).transpose(1, 2)
        q, k, v = (part.unsqueeze(1) for part in qkv_NLC.chunk(3, dim=-1))
        if self.gather_rows is not None:
            k, v = self.gather_rows(k), self.gather_rows(v)
        h_NLC = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        h_NCHW = self.proj(h_NLC.transpose(1, 2).unflatten(2, x_NCHW.shape[2:]))
        return x_BCTHW + images_to_frames(h_NCHW, x_BCTHW.shape[0])


class Downsample(nn.Module):
    """Halve height and width; with `temporal` also every pair of frames after the first frame."""

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(channels, channels, 3, stride=2)})
        self.time_conv = CausalConv3d(channels, channels, KERNEL_TIME) if temporal else None

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Return (B, C, T or (T-1)/2+1, H/2, W/2); a later chunk gives T/2 frames."""
        x_NCHW = F.pad(frames_to_images(x_BCTHW), (0, 1, 0, 1))
        x_BCTHW = images_to_frames(self.resample["1"](x_NCHW), x_BCTHW.shape[0])
        if self.time_conv is None:
            return x_BCTHW
        # A stride of 2 as every second frame: the wasted half is under 1 % of the encoder.
        merged_BCTHW = self.time_conv(x_BCTHW, stream)
        if stream is not None and not stream.starts(self):
            return merged_BCTHW[:, :, 1::2]
        # The very first frame of a video passes unchanged.
        return torch.cat([x_BCTHW[:, :, :1], merged_BCTHW[:, :, 2::2]], dim=2)


class Upsample(nn.Module):
    """Double height and width; with `temporal` also double all frames but the first."""

    def __init__(self, channels: int, out_channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": UpsampleConv2d(channels, out_channels)})
        self.time_conv = CausalConv3d(channels, 2 * channels, KERNEL_TIME) if temporal else None

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Return (B, out_channels, T or 2T-1, 2H, 2W); a later chunk gives 2T frames."""
        if self.time_conv is not None:
            x_BCTHW = self._double_frames(x_BCTHW, self.time_conv, stream)
        y_NCHW = self.resample["1"](frames_to_images(x_BCTHW))
        return images_to_frames(y_NCHW, x_BCTHW.shape[0])

    def _double_frames(
        self, x_BCTHW: Tensor, time_conv: CausalConv3d, stream: Stream | None
    ) -> Tensor:
        if stream is not None and not stream.starts(self):
            return _interleave(time_conv(x_BCTHW, stream))
        # The very first frame passes unchanged, and later frames do not depend on it.
        if x_BCTHW.shape[2] == 1:
            return x_BCTHW
        doubled_BCTHW = _interleave(time_conv(x_BCTHW[:, :, 1:], stream))
        return torch.cat([x_BCTHW[:, :, :1], doubled_BCTHW], dim=2)


def _interleave(x_BCTHW: Tensor) -> Tensor:
    """Turn channel halves into neighbouring frames: (B, 2C, T, H, W) -> (B, C, 2T, H, W)."""
    x_BTHWpC = x_BCTHW.permute(0, 2, 3, 4, 1).unflatten(4, (2, -1))
    return x_BTHWpC.permute(0, 1, 4, 2, 3, 5).flatten(1, 2).permute(0, 4, 1, 2, 3)


def middle(width: int) -> nn.ModuleList:
    """The layers between encoder levels and latents, and between latents and decoder levels."""
    return nn.ModuleList([Residual(width, width), Attention(width), Residual(width, width)])


def output_head(width: int, out_channels: int) -> nn.ModuleDict:
    """The last norm and convolution of an encoder or decoder."""
    return nn.ModuleDict({"0": NormSiLU(width), "2": CausalConv3d(width, out_channels, KERNEL_3D)})


class CausalCoder(nn.Module):
    """An encoder or a decoder: a convolution, `layers`, a norm and a convolution.

    Set `checkpointing` to recompute activations in the backward pass of training mode: less
    memory, slower.
    """

    conv1: CausalConv3d
    head: nn.ModuleDict
    checkpointing = False

    def layers(self) -> Iterable[nn.Module]:
        """The layers between the two convolutions, in order."""
        raise NotImplementedError

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Run on a whole clip, or on a chunk that `stream` connects to the chunks before it."""
        x_BCTHW = x_BCTHW.contiguous(memory_format=torch.channels_last_3d)
        x_BCTHW = self.conv1(x_BCTHW, stream)
        for layer in self.layers():
            if self.checkpointing and self.training:
                x_BCTHW = _recomputed(layer, x_BCTHW, stream)
            else:
                x_BCTHW = layer(x_BCTHW, stream)
        return self.head["2"](self.head["0"](x_BCTHW), stream)


def _recomputed(layer: nn.Module, x_BCTHW: Tensor, stream: Stream | None) -> Tensor:
    """Run a layer whose activations are computed again in the backward pass.

    A stream must not advance a second time then: each run gets a fork of where it was.
    """
    if stream is None:
        return cast("Tensor", checkpoint(layer, x_BCTHW, use_reentrant=False))
    before = stream.fork()

    def run(x_BCTHW: Tensor) -> tuple[Tensor, Stream]:
        fork = before.fork()
        return layer(x_BCTHW, fork), fork

    result = checkpoint(run, x_BCTHW, use_reentrant=False)
    y_BCTHW, after = cast("tuple[Tensor, Stream]", result)
    stream.follow(after)
    return y_BCTHW
