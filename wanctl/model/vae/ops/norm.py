"""The VAE's norm and the SiLU after it, in as few passes over memory as torch allows.

y = x / max(|x|, 1e-12) * sqrt(C) * gamma over the channels of each pixel, statistics in float32.
At 96 channels all passes cost 20 % of a convolution if each allocates its result, 5 % in place.

Shape suffixes: B batch, C channels, T frames, H rows, W columns, P = B * T * H * W pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

SHORTEST = 1e-12


def wide(x: Tensor) -> Tensor:
    """In float32; float64 stays, so that gradients can be compared beyond float32's rounding."""
    return x if x.dtype == torch.float64 else x.float()


class RMSNorm(nn.Module):
    """Scale every pixel's channel vector to length sqrt(C), then each channel by gamma."""

    def __init__(self, channels: int, spatial_dims: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...) over C."""
        # Clamped before the root: a pixel of zeros stays zero and has a finite gradient.
        inverse = wide(x).square().sum(1, keepdim=True).clamp_min(SHORTEST**2).rsqrt()
        return (wide(x) * inverse * math.sqrt(x.shape[1])).to(x.dtype) * self.gamma


class NormSiLU(RMSNorm):
    """The norm followed by SiLU; saves only its input for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, T, H, W) over C and apply SiLU."""
        if x.is_cuda and not self.training:
            return one_kernel_norm_silu(x, self.gamma)
        return _NormSiLU.apply(x, self.gamma)  # pyright: ignore[reportReturnType]


def plain_norm_silu(x_BCTHW: Tensor, gamma: Tensor) -> Tensor:
    """The definition of `NormSiLU`: normalise, scale, SiLU."""
    return F.silu(F.normalize(x_BCTHW, dim=1, eps=SHORTEST) * math.sqrt(len(gamma)) * gamma)


def one_kernel_norm_silu(x_BCTHW: Tensor, gamma: Tensor) -> Tensor:
    """Compute `NormSiLU` with torch's kernel for RMS norms: a fifth of the passes over memory.

    Differs from the definition only for pixels of about 1e-12 in length, where that has a kink.
    """
    channels = len(gamma)
    normed_PC = F.rms_norm(
        _pixels(x_BCTHW), (channels,), gamma.flatten().to(x_BCTHW.dtype), SHORTEST**2 / channels
    )
    return _video(F.silu(normed_PC, inplace=True), x_BCTHW)


class _NormSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x_BCTHW: Tensor, gamma: Tensor) -> Tensor:
        x_PC = wide(_pixels(x_BCTHW))
        inverse_P1 = torch.linalg.vector_norm(x_PC, dim=1, keepdim=True)
        inverse_P1.clamp_min_(SHORTEST).reciprocal_()
        ctx.save_for_backward(x_BCTHW, gamma, inverse_P1)
        y_PC = (x_PC * inverse_P1).mul_(_scale(gamma))
        return _video(F.silu(y_PC, inplace=True), x_BCTHW)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: FunctionCtx, grad_BCTHW: Tensor
    ) -> tuple[Tensor, Tensor]:
        x_BCTHW, gamma, inverse_P1 = ctx.saved_tensors  # pyright: ignore
        scale_C = _scale(gamma)
        unit_PC = wide(_pixels(x_BCTHW)) * inverse_P1
        grad_PC = torch.ops.aten.silu_backward(wide(_pixels(grad_BCTHW)), unit_PC * scale_C)
        product_PC = grad_PC * unit_PC
        grad_gamma = product_PC.sum(0).mul_(math.sqrt(len(gamma))).view_as(gamma)
        # The component along x is zero: a longer x has the same norm.
        along_P1 = (product_PC @ scale_C).unsqueeze(1)
        grad_PC.mul_(scale_C).addcmul_(unit_PC, along_P1, value=-1).mul_(inverse_P1)
        return _video(grad_PC, x_BCTHW), grad_gamma.to(gamma.dtype)


def _scale(gamma: Tensor) -> Tensor:
    return wide(gamma).flatten() * math.sqrt(len(gamma))


def _pixels(x_BCTHW: Tensor) -> Tensor:
    """(P, C): a view if `x` is in channels_last_3d."""
    return x_BCTHW.permute(0, 2, 3, 4, 1).flatten(0, 3)


def _video(x_PC: Tensor, like_BCTHW: Tensor) -> Tensor:
    """(P, C) to the shape and dtype of `like`: the inverse of `_pixels`."""
    B, C, T, H, W = like_BCTHW.shape
    return x_PC.to(like_BCTHW.dtype).view(B, T, H, W, C).permute(0, 4, 1, 2, 3)
