"""RMSNorm with a gradient of few passes over memory, for fp32 on the CPU.

torch's own takes eleven passes there and keeps three tensors of the input's size for the backward
pass; this one takes six and keeps the input, which is half the time at width 1,536.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """Quotient x / rms(x) over the last axis, times the weight; x is (..., D) fp32."""
    result = _RMSNorm.apply(x, weight_D, eps)
    assert isinstance(result, Tensor)
    return result


def inverse_rms(x: Tensor, eps: float) -> Tensor:
    """(..., 1) of x (..., D): 1 / sqrt(mean(x^2) + eps)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


class _RMSNorm(torch.autograd.Function):
    """With r = 1 / rms(x): y = x r w; dx = r (g w - x r^2 mean(g w x)); dw = sum(g x r)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        inverse = inverse_rms(x, eps)
        ctx.save_for_backward(x, weight_D, inverse)
        return torch.mul(x, inverse).mul_(weight_D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight_D, inverse = ctx.saved_tensors
        product = (grad * x).flatten(0, -2)
        dx = dw = None
        if ctx.needs_input_grad[0]:
            mean = (product @ weight_D).view_as(inverse).div_(x.shape[-1])
            dx = grad.mul(weight_D).addcmul_(x, mean.mul_(inverse.square()), value=-1)
            dx.mul_(inverse)
        if ctx.needs_input_grad[1]:
            dw = inverse.flatten() @ product
        return dx, dw, None
