"""A small decoder for previews, in the layout of TAEHV: normalised latents to pixels.

Plain 2-D convolutions over frames; the only layer over time is a block that also sees its own input
of the frame before. It has a thirteenth of the parameters of the VAE's decoder and gives softer
pictures. Names, order and sizes of the layers are those of the files published for TAEHV
(github.com/madebyollin/taehv: taew2_1, taew2_2); their encoder is in tiny_encoder.py.

Shape suffixes as in autoencoder.py, and N = B * T frames.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import UserError
from wanctl.model.variants import RGB_CHANNELS, VAEShape

LATENT_BOUND = 3.0  # of the normalised latents: tanh(z / 3) * 3
BLOCKS_PER_LEVEL = 3
LEVELS = 3
WIDTH = 256  # of the published files


@dataclass(frozen=True)
class TinyDecoderShape:
    """Sizes of a tiny decoder.

    Attributes:
        z_dim: latent channels.
        patch: pixels per side that leave as channels.
        widths: channels of the three levels and of the last convolution.
        time: frames per frame of each level, 1 or 2.
        space: rows per row, and columns per column, of each level, 1 or 2.
    """

    z_dim: int = 16
    patch: int = 1
    widths: tuple[int, ...] = (WIDTH, WIDTH // 2, WIDTH // 4, WIDTH // 4)
    time: tuple[int, ...] = (1, 2, 2)
    space: tuple[int, ...] = (2, 2, 2)

    @property
    def temporal_stride(self) -> int:
        """Frames per latent frame, except the first."""
        return math.prod(self.time)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent side."""
        return self.patch * math.prod(self.space)


def shape_for(vae: VAEShape, width: int = WIDTH) -> TinyDecoderShape:
    """The decoder of a VAE's latents; for the published VAEs at full width, that of TAEHV.

    Args:
        vae: whose latents it decodes.
        width: channels of the first level, a multiple of 4; later levels have a half and a quarter.

    Raises:
        UserError: the VAE's strides are not those of up to three levels.
    """
    time, space = vae.temporal_stride, vae.spatial_stride // vae.patch
    if time not in (1, 2, 4, 8) or space not in (1, 2, 4, 8):
        raise UserError(
            f"tiny decoder: the VAE has {vae.temporal_stride} frames and {vae.spatial_stride} "
            f"pixels per latent; {LEVELS} levels make 1, 2, 4 or 8 of each (times the patch)"
        )
    if width < 4 or width % 4:
        raise UserError(f"tiny decoder: got width {width}; it has to be a multiple of 4")
    return TinyDecoderShape(
        z_dim=vae.z_dim,
        patch=vae.patch,
        widths=(width, width // 2, width // 4, width // 4),
        time=_factors(time),
        space=_factors(space),
    )


def _factors(stride: int) -> tuple[int, ...]:
    """The stride as a factor of 1 or 2 for each level; the last levels grow first."""
    doubled = stride.bit_length() - 1
    return tuple(2 if level >= LEVELS - doubled else 1 for level in range(LEVELS))


class Memory:
    """The last input frame of every block, from one chunk of latents to the next."""

    def __init__(self) -> None:
        self._frames: dict[nn.Module, Tensor] = {}

    @property
    def starts(self) -> bool:
        """Whether nothing was decoded yet."""
        return not self._frames

    def swap(self, block: nn.Module, frame_BCHW: Tensor) -> Tensor | None:
        """Keep a frame; return the one that was kept before it, None at the start."""
        before = self._frames.get(block)
        # A clone, because a view would hold the whole chunk in memory.
        self._frames[block] = frame_BCHW.clone()
        return before


class Clamp(nn.Module):
    """Bound latents softly, because the network has seen few beyond."""

    def forward(self, z_NCHW: Tensor) -> Tensor:
        """Values in (-3, 3)."""
        return torch.tanh(z_NCHW / LATENT_BOUND) * LATENT_BOUND


class MemBlock(nn.Module):
    """Three convolutions of a frame and of the frame before it, plus the frame, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv3x3(2 * in_channels, out_channels),
            nn.ReLU(inplace=True),
            conv3x3(out_channels, out_channels),
            nn.ReLU(inplace=True),
            conv3x3(out_channels, out_channels),
        )
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x_NCHW: Tensor, batch: int, memory: Memory | None) -> Tensor:
        """Frames of `batch` clips; what lies before the first frame is zero, or in `memory`."""
        x_BTCHW = x_NCHW.unflatten(0, (batch, -1))
        before = memory.swap(self, x_BTCHW[:, -1]) if memory is not None else None
        first = torch.zeros_like(x_BTCHW[:, :1]) if before is None else before[:, None]
        past_NCHW = torch.cat([first, x_BTCHW[:, :-1]], dim=1).flatten(0, 1)
        h_NCHW = self.conv(torch.cat([x_NCHW, past_NCHW], dim=1))
        return F.relu(h_NCHW + self.skip(x_NCHW))


class TGrow(nn.Module):
    """Every frame as `factor` frames, by a 1x1 convolution."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(channels, channels * factor, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N * factor, C, H, W)."""
        return self.conv(x_NCHW).unflatten(1, (self.factor, -1)).flatten(0, 1)


class TinyDecoder(nn.Module):
    """Normalised latents, as the transformer sees them, to video."""

    def __init__(self, shape: TinyDecoderShape) -> None:
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = [Clamp(), conv3x3(shape.z_dim, shape.widths[0]), nn.ReLU()]
        for level, (width, narrower) in enumerate(itertools.pairwise(shape.widths)):
            layers.extend(MemBlock(width, width) for _ in range(BLOCKS_PER_LEVEL))
            layers.append(nn.Upsample(scale_factor=shape.space[level]))
            layers.append(TGrow(width, shape.time[level]))
            layers.append(conv3x3(width, narrower, bias=False))
        layers += [nn.ReLU(), conv3x3(shape.widths[-1], RGB_CHANNELS * shape.patch**2)]
        self.decoder = nn.ModuleList(layers)

    def forward(self, latents_BZTYX: Tensor, memory: Memory | None = None) -> Tensor:
        """Decode a whole clip, or the chunk that follows those in `memory`.

        Args:
            latents_BZTYX: normalised.
            memory: of the chunks before; None for a clip at once.

        Returns:
            (B, 3, stride * T, H, W), about [-1, 1], not clamped; at the start of a clip without the
            first stride - 1 frames, which the VAE does not have.
        """
        batch = latents_BZTYX.shape[0]
        dropped = self.shape.temporal_stride - 1 if memory is None or memory.starts else 0
        x_NCHW = latents_BZTYX.to(self._dtype).transpose(1, 2).flatten(0, 1)
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        for layer in self.decoder:
            memorises = isinstance(layer, MemBlock)
            x_NCHW = layer(x_NCHW, batch, memory) if memorises else layer(x_NCHW)
        pixels_NCHW = F.pixel_shuffle(x_NCHW, self.shape.patch)
        pixels_BCTHW = pixels_NCHW.unflatten(0, (batch, -1)).transpose(1, 2)
        return pixels_BCTHW[:, :, dropped:] * 2 - 1  # the network's range is [0, 1]

    def decode(self, latents_BZTYX: Tensor) -> Tensor:
        """Decode normalised latents to (B, 3, stride * (T - 1) + 1, H, W) in [-1, 1]."""
        return self(latents_BZTYX).clamp(-1, 1)

    def decode_frames(self, latents_BZTYX: Tensor, *, latent_frames: int = 1) -> Iterator[Tensor]:
        """Decode piece by piece at constant memory, as `WanVAE.decode_frames`.

        Args:
            latents_BZTYX: normalised.
            latent_frames: latent frames per piece.

        Yields:
            (B, 3, t, H, W) in [-1, 1]; the first piece has stride - 1 frames fewer.
        """
        memory = Memory()
        for chunk_BZTYX in latents_BZTYX.split(latent_frames, dim=2):
            yield self(chunk_BZTYX, memory).clamp(-1, 1)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def conv3x3(
    in_channels: int, out_channels: int, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or divides it by `stride`."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)
