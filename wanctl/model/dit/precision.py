"""The transformer's pointwise mathematics, spelt twice.

`Reference` rounds where the official code rounds (fp32 residual stream and norms, fp64 rotation).
`Fast` computes the same in fewer passes over memory; tests bound the distance between the two.
Matrix products are not here: they run in the dtype of their weights in both.

Shapes: B batch, L tokens, N heads, K head width, D width. The residual stream is (B, G, M, D), see
blocks.py; shifts, scales and gates are (B, G, 1, D), or (1, 1, 1, D) for one timestep in all.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.model.dit.rope import RopeTable, rotate, rotate_complex


class Numerics(Protocol):
    """What a block needs besides matrix products."""

    rope_dtype: torch.dtype

    def residual(self, x: Tensor) -> Tensor:
        """The patch tokens as the beginning of the residual stream."""
        ...

    def norm(self, x: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
        """LayerNorm with learned weight and bias."""
        ...

    def modulated_norm(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        """LayerNorm(x) * (1 + scale) + shift, fp32."""
        ...

    def gated_add(self, x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
        """Sum x + gate * y, fp32; without a gate x + y. May overwrite x while sampling."""
        ...

    def rms_norm(self, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        """Quotient x / rms(x) over the full width, times the weight."""
        ...

    def rotate(self, x_BLNK: Tensor, table: RopeTable) -> Tensor:
        """Rotary positions; may overwrite x where no gradient is kept."""
        ...

    def gelu(self, x: Tensor) -> Tensor:
        """GELU in its tanh form; may overwrite x where no gradient is kept."""
        ...

    def weighs_padding(self, v: Tensor) -> bool:
        """Whether one key may stand for many equal ones, by a bias; else it is repeated."""
        ...


class Reference:
    """Official rounding, step by step."""

    rope_dtype = torch.float64

    def residual(self, x: Tensor) -> Tensor:
        """As the patch embedding left them: rounded to its dtype until the first gated add."""
        return x

    def norm(self, x: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
        """In fp32, then back to the dtype of x."""
        normed = F.layer_norm(x.float(), x.shape[-1:], weight_D.float(), bias_D.float(), eps)
        return normed.type_as(x)

    def modulated_norm(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        """The norm is rounded to the dtype of x before the fp32 modulation."""
        normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps).type_as(x)
        return normed.float() * (1 + scale) + shift

    def gated_add(self, x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
        """In fp32; this is where the residual stream becomes fp32."""
        y = y.float()
        return x.float() + (y if gate is None else y * gate)

    def rms_norm(self, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        """Statistics in fp32; the quotient is rounded to the dtype of x before the weight."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
        return normed.type_as(x) * weight_D

    def rotate(self, x_BLNK: Tensor, table: RopeTable) -> Tensor:
        """In fp64, result fp32."""
        return rotate(x_BLNK, table).float()

    def gelu(self, x: Tensor) -> Tensor:
        """In the dtype of x."""
        return F.gelu(x, approximate="tanh")

    def weighs_padding(self, v: Tensor) -> bool:  # noqa: ARG002
        """No: the softmax sums over all keys, as the official one does."""
        return False


class Fast:
    """Fewer passes over memory; fp32 tables instead of fp64, no rounding in the middle."""

    rope_dtype = torch.float32

    def residual(self, x: Tensor) -> Tensor:
        """fp32 from the start: one cast here saves one in every norm and add of the first block."""
        return x.float()

    def norm(self, x: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
        """One kernel."""
        return F.layer_norm(x, x.shape[-1:], weight_D.float(), bias_D.float(), eps)

    def modulated_norm(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        """One kernel where one timestep rules: the modulation is the norm's weight and bias."""
        if shift.numel() == shift.shape[-1]:
            return F.layer_norm(x, x.shape[-1:], 1 + scale.flatten(), shift.flatten(), eps)
        normed = F.layer_norm(x, x.shape[-1:], eps=eps)
        return torch.addcmul(shift, normed, 1 + scale)

    def gated_add(self, x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
        """One kernel, in place while sampling."""
        if torch.is_grad_enabled():
            return x + y if gate is None else torch.addcmul(x, y.float(), gate)
        return x.add_(y) if gate is None else x.addcmul_(y.float(), gate)

    def rms_norm(self, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        """One kernel on CUDA; in place on the CPU, where torch takes five passes."""
        if not _overwritable(x):
            return F.rms_norm(x, x.shape[-1:], weight_D.to(x.dtype), eps)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        return x.mul_(inverse).mul_(weight_D)

    def rotate(self, x_BLNK: Tensor, table: RopeTable) -> Tensor:
        """In fp32, rounded once."""
        # A compiler fuses the plain form and knows no complex numbers.
        if x_BLNK.is_cuda or torch.compiler.is_compiling():
            return rotate(x_BLNK, table).type_as(x_BLNK)
        return rotate_complex(x_BLNK, table, in_place=_overwritable(x_BLNK)).type_as(x_BLNK)

    def gelu(self, x: Tensor) -> Tensor:
        """In place while sampling: the widest activation of the model is not doubled."""
        if torch.is_grad_enabled():
            return F.gelu(x, approximate="tanh")
        return torch.ops.aten.gelu_(x, approximate="tanh")

    def weighs_padding(self, v: Tensor) -> bool:
        """In fp32 on the CPU. On CUDA a bias rules the fast kernels out; bf16 would round log n."""
        return v.device.type == "cpu" and v.dtype == torch.float32


def _overwritable(x: Tensor) -> bool:
    """Whether a fresh fp32 tensor on the CPU may be reused: no gradient will ask for it."""
    return not torch.is_grad_enabled() and x.dtype == torch.float32 and not x.is_cuda


NUMERICS: dict[str, type[Reference] | type[Fast]] = {"reference": Reference, "fast": Fast}
