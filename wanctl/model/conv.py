"""Causal convolution over video frames: the one function every 3-D convolution of the VAE calls.

Causal means that frame t sees frames t-2, t-1 and t; what lies before the first frame is zero.
Activations are (B, C, T, H, W) tensors in `torch.channels_last_3d`, so that the frames of a clip
are also a batch of channels-last images without a copy.

Shape suffixes: B batch, C channels, T frames, H rows, W columns, N = B * T images, O out channels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stream:
    """What the causal layers remember between one chunk of a video and the next.

    A layer asks for the frames it kept and hands in the frames to keep. A fresh stream, or no
    stream at all, stands before the first frame.
    """

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}
        self._started: set[nn.Module] = set()

    def starts(self, layer: nn.Module) -> bool:
        """Whether this is the first time that `layer` asks."""
        first = layer not in self._started
        self._started.add(layer)
        return first

    def swap(self, layer: nn.Module, frames_BCTHW: Tensor, keep: int) -> Tensor | None:
        """Return what `layer` kept, and keep the last `keep` frames of that and of `frames`."""
        past = self._kept.get(layer)
        if past is not None and frames_BCTHW.shape[2] < keep:
            frames_BCTHW = torch.cat([past, frames_BCTHW], dim=2)
        # A clone, because a view would hold the whole chunk in memory.
        self._kept[layer] = frames_BCTHW[:, :, -keep:].clone()
        return past


class CausalConv3d(nn.Conv3d):
    """Convolution that is causal in time and keeps the size in space.

    Parameters are those of `nn.Conv3d`: weight (O, C, kt, kh, kw) and bias (O,).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sequence[int]) -> None:
        kt, kh, kw = kernel_size
        super().__init__(in_channels, out_channels, (kt, kh, kw), padding=(0, kh // 2, kw // 2))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x_BCTHW: Tensor, stream: Stream | None = None
    ) -> Tensor:
        """Convolve a chunk; the frames before it come from `stream`, or are zero."""
        past = None
        if stream is not None and self.kernel_size[0] > 1:
            past = stream.swap(self, x_BCTHW, keep=self.kernel_size[0] - 1)
        return causal_conv3d(x_BCTHW, self.weight, self.bias, past)


def causal_conv3d(
    x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None = None
) -> Tensor:
    """Convolve with the quickest exact method for this device and size.

    Args:
        x_BCTHW: the chunk.
        weight: (O, C, kt, kh, kw), odd kernel sides.
        bias: (O,) or None.
        past: up to kt-1 frames that came before the chunk; missing ones are zero.

    Returns:
        (B, O, T, H, W).
    """
    return plain_causal_conv3d(x_BCTHW, weight, bias, past)


def plain_causal_conv3d(
    x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None = None
) -> Tensor:
    """The definition: put `past` and zeros in front, then convolve without padding in time."""
    kt, kh, kw = weight.shape[2:]
    if past is not None:
        x_BCTHW = torch.cat([past, x_BCTHW], dim=2)
    missing = kt - 1 - (0 if past is None else past.shape[2])
    if missing:
        x_BCTHW = F.pad(x_BCTHW, (0, 0, 0, 0, missing, 0))
    return F.conv3d(x_BCTHW, weight, bias, padding=(0, kh // 2, kw // 2))
