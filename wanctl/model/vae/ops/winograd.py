"""Causal convolution in time by Winograd's F(2, 3): two frames out of four products, not six.

For inputs d0..d3 and taps g0..g2 the outputs d0 g0 + d1 g1 + d2 g2 and d1 g0 + d2 g1 + d3 g2 are
sums of (d0 - d2) g0, (d1 + d2)(g0 + g1 + g2)/2, (d2 - d1)(g0 - g1 + g2)/2 and (d3 - d1) g2
(Winograd 1980), each product being a 2-D convolution. F(4, 3) would take half the products, but
its rounding errors are 6-8 times those of the definition; these are 1.2-1.5 times.

Shapes: B batch, C channels, T frames, H rows, W columns, O out channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(frames (B, C, T, H, W), 2-D weight, bias) -> (B, O, T, H, W)."""

TAPS = 3
# Below these the passes over memory that form sums cost more than the products saved (measured
# 1.3-1.5x as fast above: 96-384 channels, one thread).
MIN_PRODUCTS = 64 * 1024  # multiplications per pixel and tap
MIN_PIXELS = 256


def pays(x_BCTHW: Tensor, weight: Tensor, outputs: int) -> bool:
    """Whether `two_at_once` is the faster method for this number of output frames."""
    return (
        outputs >= 2
        and weight.shape[2] == TAPS
        and weight[:, :, 0].numel() >= MIN_PRODUCTS
        and x_BCTHW.shape[3] * x_BCTHW.shape[4] >= MIN_PIXELS
    )


def two_at_once(x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, convolve: Convolve) -> Tensor:
    """Convolve 2n+2 frames with all three taps; 2n frames come out.

    Args:
        x_BCTHW: 2n+2 frames, of which the first two give no output.
        weight: (O, C, 3, kh, kw).
        bias: (O,) or None.
        convolve: the 2-D convolution with one tap.
    """
    first, middle, last = weight.unbind(2)
    d0, d1 = x_BCTHW[:, :, :-2:2], x_BCTHW[:, :, 1:-2:2]
    d2, d3 = x_BCTHW[:, :, 2::2], x_BCTHW[:, :, 3::2]
    outer = (first + last).mul_(0.5)
    both = convolve(d1 + d2, outer + middle * 0.5, bias)
    apart = convolve(d2 - d1, outer - middle * 0.5, None)
    odd = both - apart
    even = both.add_(apart)
    del apart
    even += convolve(d0 - d2, first, None)
    odd += convolve(d3 - d1, last, None)
    # Channels stay the last axis in memory.
    pairs = torch.stack((even.permute(0, 2, 3, 4, 1), odd.permute(0, 2, 3, 4, 1)), dim=2)
    return pairs.flatten(1, 2).permute(0, 4, 1, 2, 3)
