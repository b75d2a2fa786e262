"""The transformer's pointwise mathematics, in two versions.

`Reference` rounds where the official code rounds (fp32 residual stream and norms, fp64 rotation).
`Fast` computes the same in fewer passes over memory; tests bound the distance between the two.
Matrix products are not here: they run in the dtype of their weights in both, and `keeps_fp32` says
which weights a half-precision model keeps in fp32.

Where a function takes `inplace`, it may overwrite x. Modules pass `not self.training`: autograd
needs the values that would be overwritten, so gradients exist in training mode only.

Shapes: B batch, L tokens, N heads, K head width, D width. The residual stream is (B, G, M, D), see
blocks.py; shifts, scales and gates are (B, G, 1, D), or (1, 1, 1, D) for one timestep in all.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.model.dit.rms_norm import inverse_rms, rms_norm
from wanctl.model.dit.rope import RopeTable, rotate, rotate_complex

# Parameters that keep fp32 when the model runs in bf16: everything that is not a large product.
FP32_PARTS = (
    "time_embedding",
    "time_projection",
    "modulation",
    "norm",
    "head",
    "emb_pos",
    "proj_l",
    "fps_",
)
# Norms without the word in their name, and small networks that run once per clip.
FP32_LAYERS = (
    "img_emb.proj.0.", "img_emb.proj.4.", "motion_encoder.", "face_encoder.",
    "casual_audio_encoder.",
)  # fmt: skip


def keeps_fp32(name: str) -> bool:
    """Whether the parameter of this name stays fp32 in a half-precision model."""
    return name.startswith(FP32_LAYERS) or any(
        part.startswith(FP32_PARTS) for part in name.split(".")
    )


class Numerics(Protocol):
    """The pointwise operations of a block."""

    rope_dtype: torch.dtype

    def residual(self, x: Tensor) -> Tensor:
        """The start of the residual stream, from the patch tokens."""
        ...

    def norm(self, x: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
        """LayerNorm with learned weight and bias."""
        ...

    def modulated_norm(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        """LayerNorm(x) * (1 + scale) + shift, fp32."""
        ...

    def gated_add(self, x: Tensor, y: Tensor, gate: Tensor | None, *, inplace: bool) -> Tensor:
        """Sum x + gate * y, fp32; without a gate x + y."""
        ...

    def rms_norm(self, x: Tensor, weight_D: Tensor, eps: float, *, inplace: bool) -> Tensor:
        """Quotient x / rms(x) over the full width, times the weight."""
        ...

    def rotate(self, x_BLNK: Tensor, table: RopeTable, *, inplace: bool) -> Tensor:
        """Queries or keys turned by their rotary positions."""
        ...

    def gelu(self, x: Tensor, *, inplace: bool) -> Tensor:
        """GELU in its tanh form."""
        ...

    def weighs_padding(self, v: Tensor) -> bool:
        """Whether one key may stand for many equal ones, by a bias; else it is repeated."""
        ...


class Reference:
    """Official rounding, step by step."""

    rope_dtype = torch.float64

    def residual(self, x: Tensor) -> Tensor:
        """The tokens in the dtype of the patch embedding, until the first gated add."""
        return x

    def norm(self, x: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float) -> Tensor:
        """In fp32, then back to the dtype of x."""
        normed = F.layer_norm(x.float(), x.shape[-1:], weight_D.float(), bias_D.float(), eps)
        return normed.type_as(x)

    def modulated_norm(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        """The norm is rounded to the dtype of x before the fp32 modulation."""
        normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps).type_as(x)
        return normed.float() * (1 + scale) + shift

    def gated_add(self, x: Tensor, y: Tensor, gate: Tensor | None, *, inplace: bool) -> Tensor:  # noqa: ARG002
        """In fp32; this is where the residual stream becomes fp32."""
        y = y.float()
        return x.float() + (y if gate is None else y * gate)

    def rms_norm(self, x: Tensor, weight_D: Tensor, eps: float, *, inplace: bool) -> Tensor:  # noqa: ARG002
        """Statistics in fp32; the quotient is rounded to the dtype of x before the weight."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
        return normed.type_as(x) * weight_D

    def rotate(self, x_BLNK: Tensor, table: RopeTable, *, inplace: bool) -> Tensor:  # noqa: ARG002
        """In fp64, result fp32."""
        return rotate(x_BLNK, table).float()

    def gelu(self, x: Tensor, *, inplace: bool) -> Tensor:  # noqa: ARG002
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
        """LayerNorm in one kernel."""
        return F.layer_norm(x, x.shape[-1:], weight_D.float(), bias_D.float(), eps)

    def modulated_norm(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
        """One kernel where all tokens share a timestep: it is the norm's affine part."""
        if shift.numel() == shift.shape[-1]:
            return F.layer_norm(x, x.shape[-1:], 1 + scale.flatten(), shift.flatten(), eps)
        normed = F.layer_norm(x, x.shape[-1:], eps=eps)
        return torch.addcmul(shift, normed, 1 + scale)

    def gated_add(self, x: Tensor, y: Tensor, gate: Tensor | None, *, inplace: bool) -> Tensor:
        """Sum and product in one kernel."""
        if inplace:
            return x.add_(y) if gate is None else x.addcmul_(y.float(), gate)
        return x + y if gate is None else torch.addcmul(x, y.float(), gate)

    def rms_norm(self, x: Tensor, weight_D: Tensor, eps: float, *, inplace: bool) -> Tensor:
        """One kernel on CUDA; on the CPU, where torch takes five passes, three."""
        if not _is_cpu_fp32(x) or torch.compiler.is_compiling():
            return F.rms_norm(x, x.shape[-1:], weight_D.to(x.dtype), eps)
        if inplace:
            return x.mul_(inverse_rms(x, eps)).mul_(weight_D)
        return rms_norm(x, weight_D.float(), eps)

    def rotate(self, x_BLNK: Tensor, table: RopeTable, *, inplace: bool) -> Tensor:
        """In fp32, rounded once."""
        # A compiler fuses the plain form and knows no complex numbers.
        if x_BLNK.is_cuda or torch.compiler.is_compiling():
            return rotate(x_BLNK, table).type_as(x_BLNK)
        inplace = inplace and _is_cpu_fp32(x_BLNK)
        return rotate_complex(x_BLNK, table, inplace=inplace).type_as(x_BLNK)

    def gelu(self, x: Tensor, *, inplace: bool) -> Tensor:
        """In place, the widest activation of the model is not held twice."""
        if inplace:
            return torch.ops.aten.gelu_(x, approximate="tanh")
        return F.gelu(x, approximate="tanh")

    def weighs_padding(self, v: Tensor) -> bool:
        """In fp32 on the CPU. On CUDA a bias excludes the fast kernels; bf16 would round log n."""
        return v.device.type == "cpu" and v.dtype == torch.float32


def _is_cpu_fp32(x: Tensor) -> bool:
    """Whether work in place is faster here and loses no precision."""
    return x.dtype == torch.float32 and not x.is_cuda


NUMERICS: dict[str, type[Reference] | type[Fast]] = {"reference": Reference, "fast": Fast}
