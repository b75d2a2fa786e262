"""Convolutions of the video VAE: causal in time, and nearest upsampling with its convolution.

Causal means that frame t sees frames t-2, t-1 and t; what lies before the first frame is zero.
Each function has a `plain_` version that is its definition. The function itself selects the
fastest exact method for the device. Activations are in `torch.channels_last_3d`, so that the frames
of one clip are also a batch of channels-last images without a copy.

Shape suffixes: B batch, C channels, T frames, H rows, W columns, N = B * T images, O out channels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from wanctl.model.vae.ops import winograd

# Rows of a 3-tap kernel that meet the same low-resolution pixel, for even and odd output pixels.
UPSAMPLE_TAPS = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


class Stream:
    """The last input frames of the causal layers, from one chunk of a video to the next.

    A layer exchanges the frames that it kept for the frames to keep. A new stream, or no stream,
    is at the start of a video.

    Args:
        detach: keep frames without their gradient, so that a backward pass ends at the start of its
            chunk and needs no activations of the chunks before.
    """

    def __init__(self, *, detach: bool = False) -> None:
        self._detach = detach
        self._kept: dict[nn.Module, Tensor] = {}
        self._started: set[nn.Module] = set()

    @property
    def has_started(self) -> bool:
        """Whether a chunk went through already."""
        return bool(self._started or self._kept)

    def starts(self, layer: nn.Module) -> bool:
        """Whether this is the first call for `layer`, which is the start of the video."""
        first = layer not in self._started
        self._started.add(layer)
        return first

    def swap(self, layer: nn.Module, frames_BCTHW: Tensor, keep: int) -> Tensor | None:
        """Return what `layer` kept, and keep the last `keep` frames of that and of `frames`."""
        past = self._kept.get(layer)
        if past is not None and frames_BCTHW.shape[2] < keep:
            frames_BCTHW = torch.cat([past, frames_BCTHW], dim=2)
        if self._detach:
            frames_BCTHW = frames_BCTHW.detach()
        # A clone, because a view would hold the whole chunk in memory.
        self._kept[layer] = frames_BCTHW[:, :, -keep:].clone()
        return past

    def fork(self) -> "Stream":
        """A stream at the same place, which goes on by itself."""
        copy = Stream(detach=self._detach)
        copy.follow(self)
        return copy

    def follow(self, other: "Stream") -> None:
        """Go to the place of another stream of the same video."""
        self._kept, self._started = dict(other._kept), set(other._started)


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
        return causal_conv3d(x_BCTHW, self.weight, self.bias, past, training=self.training)


class UpsampleConv2d(nn.Conv2d):
    """Double height and width by nearest neighbour, then convolve 3x3."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x_NCHW: Tensor
    ) -> Tensor:
        """Return (N, O, 2H, 2W)."""
        return upsample_conv2d(x_NCHW, self.weight, self.bias)


def frames_to_images(x_BCTHW: Tensor) -> Tensor:
    """View (or, for some frames of several clips, copy) frames as channels-last images."""
    return x_BCTHW.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)


def images_to_frames(x_NCHW: Tensor, batch: int) -> Tensor:
    """Images (N, C, H, W) as frames (B, C, T, H, W): the inverse of `frames_to_images`."""
    return x_NCHW.unflatten(0, (batch, -1)).transpose(1, 2)


def causal_conv3d(
    x_BCTHW: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    past: Tensor | None = None,
    *,
    training: bool,
) -> Tensor:
    """Convolve with the fastest exact method for this device and size.

    Args:
        x_BCTHW: the chunk.
        weight: (O, C, kt, kh, kw), odd kernel sides, stride 1.
        bias: (O,) or None.
        past: up to kt-1 frames that came before the chunk; missing ones are zero.
        training: choose among the methods that have gradients.

    Returns:
        (B, O, T, H, W), in the memory format of the input.
    """
    if not _prefers_images(x_BCTHW):
        return plain_causal_conv3d(x_BCTHW, weight, bias, past)
    skip = 0
    if past is not None:
        skip = past.shape[2]
        x_BCTHW = torch.cat([past, x_BCTHW], dim=2)
    if training:
        return _TapConvolution.apply(x_BCTHW, weight, bias, skip)  # pyright: ignore[reportReturnType]
    return _fewest_products(x_BCTHW, weight, bias, skip)


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


def upsample_conv2d(x_NCHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Double height and width by nearest neighbour, then convolve 3x3 with zero padding.

    Of the 9 pixels that a kernel sees after upsampling only 4 differ. So the kernel's taps are
    summed into one 2x2 kernel for each of the 4 positions of an output pixel, and all four run on
    the small image: 2.25x fewer multiplications and no large input. Measured 1.4-2.1x as fast.
    """
    if not _prefers_images(x_NCHW):
        return plain_upsample_conv2d(x_NCHW, weight, bias)
    height, width = x_NCHW.shape[2:]
    taps = weight.new_tensor(UPSAMPLE_TAPS)
    kernels = torch.einsum("pak,qbl,ockl->pqocab", taps, taps, weight).flatten(0, 2)
    biases = None if bias is None else bias.repeat(4)
    y_NCHW = F.conv2d(x_NCHW, kernels, biases, padding=1)
    y_NHWpqO = y_NCHW.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
    # The kernels of odd output rows and columns start one pixel later.
    rows = [
        torch.stack([y_NHWpqO[:, p : p + height, q : q + width, p, q] for q in (0, 1)], dim=3)
        for p in (0, 1)
    ]
    return torch.stack(rows, dim=2).flatten(1, 2).flatten(2, 3).permute(0, 3, 1, 2)


def plain_upsample_conv2d(x_NCHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The definition of `upsample_conv2d`: interpolate, then convolve."""
    upsampled_NCHW = F.interpolate(x_NCHW, scale_factor=2.0, mode="nearest-exact")
    return F.conv2d(upsampled_NCHW, weight, bias, padding=1)


def _prefers_images(x: Tensor) -> bool:
    """Whether 2-D convolutions of images beat 3-D ones here: on CPUs, in float32.

    F.conv3d falls to a slow generic kernel when batch is 1 and C * T * H <= 20480 (9x slower at
    16-32 channels); oneDNN's own 3-D kernels are still 1.3-1.5x slower at 96-384 channels.
    """
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    )


def _fewest_products(x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, skip: int) -> Tensor:
    """Convolve as `_add_taps` does; pairs of frames with a complete past by `two_at_once`."""
    seen = winograd.TAPS - 1
    pairs = (x_BCTHW.shape[2] - max(seen, skip)) // 2
    if not winograd.pays(x_BCTHW, weight, 2 * pairs):
        return _add_taps(x_BCTHW, weight, bias, skip)
    first = x_BCTHW.shape[2] - 2 * pairs  # frame that the first pair starts with
    padding = (weight.shape[3] // 2, weight.shape[4] // 2)
    pair_output = winograd.two_at_once(
        x_BCTHW[:, :, first - seen :],
        weight,
        bias,
        lambda x, tap, bias: _convolve_images(x, tap, bias, padding),
    )
    if first == skip:
        return pair_output
    before = _add_taps(x_BCTHW[:, :, :first], weight, bias, skip)
    # Joined with channels last: of one frame torch does not see which axis is last in memory.
    parts = [part.permute(0, 2, 3, 4, 1) for part in (before, pair_output)]
    return torch.cat(parts, dim=1).permute(0, 4, 1, 2, 3)


def _add_taps(x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, skip: int = 0) -> Tensor:
    """Convolve frames once per temporal tap and add each to the frames that it reaches.

    Frames of zeros are neither allocated nor multiplied: one frame takes a third of the work.
    The first `skip` frames are past: they are inputs but give no output.
    """
    kt, kh, kw = weight.shape[2:]
    padding = (kh // 2, kw // 2)
    out_BCTHW = _convolve_images(x_BCTHW[:, :, skip:], weight[:, :, -1], bias, padding)
    for lag in range(1, kt):
        start = max(0, lag - skip)
        seen_BCTHW = x_BCTHW[:, :, skip + start - lag : x_BCTHW.shape[2] - lag]
        if seen_BCTHW.shape[2]:
            tap = weight[:, :, kt - 1 - lag]
            out_BCTHW[:, :, start:] += _convolve_images(seen_BCTHW, tap, None, padding)
    return out_BCTHW


def _convolve_images(
    x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
) -> Tensor:
    y_NCHW = F.conv2d(frames_to_images(x_BCTHW), weight, bias, padding=padding)
    return images_to_frames(y_NCHW, x_BCTHW.shape[0])


class _TapConvolution(torch.autograd.Function):
    """The autograd function of `_add_taps`; its backward adds in place (1.4x autograd's speed)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, skip: int
    ) -> Tensor:
        ctx.save_for_backward(x_BCTHW, weight)
        ctx.skip = skip  # pyright: ignore[reportAttributeAccessIssue]
        return _add_taps(x_BCTHW, weight, bias, skip)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: FunctionCtx, grad_BCTHW: Tensor
    ) -> tuple[Tensor | None, ...]:
        x_BCTHW, weight = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        skip: int = ctx.skip  # pyright: ignore[reportAttributeAccessIssue]
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]  # pyright: ignore
        grad_BCTHW = grad_BCTHW.contiguous(memory_format=torch.channels_last_3d)
        grad_x = torch.zeros_like(x_BCTHW) if wants_x and skip else None
        grad_bias = None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        kt, kh, kw = weight.shape[2:]
        frames = x_BCTHW.shape[2]
        for lag in range(min(kt, frames)):
            tap = kt - 1 - lag
            start = max(0, lag - skip)  # first output frame that sees a frame through this tap
            seen = slice(skip + start - lag, frames - lag)
            part_x, part_weight, part_bias = torch.ops.aten.convolution_backward(
                frames_to_images(grad_BCTHW[:, :, start:]), frames_to_images(x_BCTHW[:, :, seen]),
                weight[:, :, tap], [weight.shape[0]], [1, 1], [kh // 2, kw // 2], [1, 1],
                False, [0, 0], 1, [wants_x, wants_weight, wants_bias and lag == 0],
            )  # fmt: skip
            if grad_weight is not None:
                grad_weight[:, :, tap] = part_weight
            if lag == 0:
                grad_bias = part_bias
            if not wants_x:
                continue
            part_BCTHW = images_to_frames(part_x, x_BCTHW.shape[0])
            if grad_x is None:
                grad_x = part_BCTHW  # of lag 0 without a past: all frames
            else:
                grad_x[:, :, seen] += part_BCTHW
        return grad_x, grad_weight, grad_bias, None
