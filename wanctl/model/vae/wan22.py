"""The Wan 2.2 video VAE's encoder and decoder: 4x in time and 16x in space, 48 channels.

The blocks are those of the Wan 2.1 VAE (blocks.py). Unlike there, pixels enter as patches of 2x2,
and every level has a shortcut without parameters that averages blocks of the input down, or
repeats it up. Parameter names are those of the published `Wan2.2_VAE.pth`.

Shape suffixes as in autoencoder.py.
"""

import itertools
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.vae.blocks import (
    KERNEL_3D,
    CausalCoder,
    Downsample,
    Residual,
    Upsample,
    middle,
    output_head,
)
from wanctl.model.vae.ops.conv import CausalConv3d, Stream
from wanctl.model.variants import RGB_CHANNELS, VAEShape


class Encoder22(CausalCoder):
    """Patches (B, 12, T, H/2, W/2) -> mean and log-variance (B, 2Z, T', Y, X)."""

    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        widths = [shape.dim * mult for mult in (1, *shape.dim_mult)]
        self.conv1 = CausalConv3d(RGB_CHANNELS * shape.patch**2, widths[0], KERNEL_3D)
        last = len(shape.dim_mult) - 1
        self.downsamples = nn.ModuleList(
            DownLevel(
                width_in,
                width,
                blocks=shape.num_res_blocks,
                downsamples_space=level < last,
                temporal=level < last and shape.temporal_downsample[level],
            )
            for level, (width_in, width) in enumerate(itertools.pairwise(widths))
        )
        self.middle = middle(widths[-1])
        self.head = output_head(widths[-1], 2 * shape.z_dim)

    def layers(self) -> Iterable[nn.Module]:
        """The layers in the order in which they run."""
        return (*self.downsamples, *self.middle)


class Decoder22(CausalCoder):
    """Latents (B, Z, T, Y, X) -> patches of a video (B, 12, T', H/2, W/2), not clamped."""

    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        dim = shape.decoder_dim or shape.dim
        widths = [dim * mult for mult in (shape.dim_mult[-1], *reversed(shape.dim_mult))]
        self.conv1 = CausalConv3d(shape.z_dim, widths[0], KERNEL_3D)
        self.middle = middle(widths[0])
        temporal = shape.temporal_downsample[::-1]
        last = len(shape.dim_mult) - 1
        self.upsamples = nn.ModuleList(
            UpLevel(
                width_in,
                width,
                blocks=shape.num_res_blocks + 1,
                upsamples_space=level < last,
                temporal=level < last and temporal[level],
            )
            for level, (width_in, width) in enumerate(itertools.pairwise(widths))
        )
        self.head = output_head(widths[-1], RGB_CHANNELS * shape.patch**2)

    def layers(self) -> Iterable[nn.Module]:
        """The layers in the order in which they run."""
        return (*self.middle, *self.upsamples)


class DownLevel(nn.Module):
    """Residual blocks and a downsampler, plus the input averaged to the same shape."""

    def __init__(
        self, channels: int, width: int, *, blocks: int, downsamples_space: bool, temporal: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [Residual(channels, width)]
        layers.extend(Residual(width, width) for _ in range(blocks - 1))
        if downsamples_space:
            layers.append(Downsample(width, temporal=temporal))
        self.downsamples = nn.ModuleList(layers)
        self.width = width
        self.factors = (2 if temporal else 1, 2 if downsamples_space else 1)

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Return (B, width, T', H', W')."""
        shortcut = average_down(x_BCTHW, self.width, *self.factors)
        for layer in self.downsamples:
            x_BCTHW = layer(x_BCTHW, stream)
        return x_BCTHW + shortcut


class UpLevel(nn.Module):
    """Residual blocks and an upsampler, plus the input repeated to the same shape.

    The last level, which does not upsample, has no such path.
    """

    def __init__(
        self, channels: int, width: int, *, blocks: int, upsamples_space: bool, temporal: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [Residual(channels, width)]
        layers.extend(Residual(width, width) for _ in range(blocks - 1))
        if upsamples_space:
            layers.append(Upsample(width, width, temporal=temporal))
        self.upsamples = nn.ModuleList(layers)
        self.width = width
        self.upsamples_space = upsamples_space
        self.time_factor = 2 if temporal else 1

    def forward(self, x_BCTHW: Tensor, stream: Stream | None = None) -> Tensor:
        """Return (B, width, T', H', W')."""
        y_BCTHW = x_BCTHW
        for layer in self.upsamples:
            y_BCTHW = layer(y_BCTHW, stream)
        if not self.upsamples_space:
            return y_BCTHW
        starts = stream is None or stream.starts(self)
        return y_BCTHW + repeat_up(x_BCTHW, self.width, self.time_factor, 2, starts=starts)


def average_down(x_BCTHW: Tensor, width: int, time: int, space: int) -> Tensor:
    """Blocks of `time` x `space` x `space` values into channels, then groups of them averaged.

    Zero frames fill the front up to a multiple of `time`: only the chunk that holds a video's
    first frame has an odd number of frames.

    Returns:
        (B, width, T/time, H/space, W/space).
    """
    if time == space == 1 and x_BCTHW.shape[1] == width:
        return x_BCTHW
    x_BCTHW = F.pad(x_BCTHW, (0, 0, 0, 0, -x_BCTHW.shape[2] % time, 0))
    blocks = x_BCTHW.unflatten(4, (-1, space)).unflatten(3, (-1, space)).unflatten(2, (-1, time))
    # B C T time H space W space -> B (C time space space) T H W
    channels = blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)
    return channels.unflatten(1, (width, -1)).mean(2)


def repeat_up(x_BCTHW: Tensor, width: int, time: int, space: int, *, starts: bool) -> Tensor:
    """Each channel repeated, then channels unfolded into frames, rows and columns.

    Args:
        x_BCTHW: the input.
        width: channels of the result.
        time: frames per frame.
        space: rows per row, and columns per column.
        starts: whether the video begins here; its first frame stays one frame.

    Returns:
        (B, width, T * time, H * space, W * space), or time - 1 frames less where it starts.
    """
    copies = width * time * space * space // x_BCTHW.shape[1]
    blocks = x_BCTHW.repeat_interleave(copies, dim=1).unflatten(1, (width, time, space, space))
    # B width time space space T H W -> B width T time H space W space
    video = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return video[:, :, time - 1 :] if starts else video


def to_patches(video_BCTHW: Tensor, patch: int) -> Tensor:
    """Pixels of `patch` x `patch` into channels; the column runs slower than the row."""
    blocks = video_BCTHW.unflatten(4, (-1, patch)).unflatten(3, (-1, patch))  # B C T h r w q
    return blocks.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def from_patches(x_BCTHW: Tensor, patch: int) -> Tensor:
    """Channels of patches to pixels: the inverse of `to_patches`."""
    blocks = x_BCTHW.unflatten(1, (-1, patch, patch))  # B C q r T h w
    return blocks.permute(0, 1, 4, 5, 3, 6, 2).flatten(5, 6).flatten(3, 4)
