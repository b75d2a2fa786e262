"""Large matrices in 8 bits: half the memory of bf16, and with `fp8-dynamic` faster products.

Each output channel has a scale. `int8` and `fp8` store 8 bits and multiply in the model's own
format, so only the weights are rounded; `fp8-dynamic` also rounds the activations, each token by
a scale of its own, and multiplies in fp8 (GPUs of capability 8.9 and up). All three change the
video; what they do to a velocity is measured in tests and in docs/benchmarks.md. `nf4` (nf4.py)
stores 4 bits, for frozen weights under an adapter that is trained.

Gradients flow through these layers to their inputs; the weights have none.

Shapes: O outputs, I inputs, P rows.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import UserError, unknown
from wanctl.model.dit.transformer import WanModel
from wanctl.runtime.nf4 import dequantize_nf4, quantize_nf4

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max
INT8_MAX = 127.0
FP8_CAPABILITY = (8, 9)
KINDS = ("int8", "fp8", "fp8-dynamic")  # for sampling
FROZEN_KINDS = ("int8", "fp8", "nf4")  # under an adapter that is trained


class QuantizedLinear(nn.Module):
    """`nn.Linear` with a frozen weight in 8 or 4 bits.

    Args:
        linear: the layer that it replaces; the products run in the dtype of its bias, or of
            autocast.
        kind: one of KINDS or of FROZEN_KINDS.
    """

    def __init__(self, linear: nn.Linear, kind: str) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = _quantized(linear.weight.detach(), kind)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """(..., O) in the dtype of the products."""
        device = x.device.type
        autocast = torch.is_autocast_enabled(device)
        x = x.to(torch.get_autocast_dtype(device) if autocast else self.bias.dtype)
        if self.kind == "fp8-dynamic":
            return self._product_in_fp8(x)
        if torch.is_grad_enabled() and x.requires_grad:
            return _FrozenProduct.apply(x, self)
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        """(..., O) in the dtype of x."""
        if self._multiplies_values(x):
            return F.linear(x, self.values().to(x), self.bias.to(x))
        # The scale comes after the product: one multiplication per output, not per weight.
        y = F.linear(x, self.weight.to(x.dtype))
        return torch.addcmul(self.bias.to(x), y, self.scale.to(x))

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """(..., I) the gradient of a product's input from that of its output (..., O)."""
        if self._multiplies_values(gradient):
            return gradient @ self.values().to(gradient)
        return (gradient * self.scale.to(gradient)) @ self.weight.to(gradient.dtype)

    def values(self) -> Tensor:
        """(O, I) fp32, the matrix that the codes stand for."""
        if self.kind == "nf4":
            shape = (self.out_features, self.in_features)
            return dequantize_nf4(self.weight, self.scale, shape)
        return self.weight.float() * self.scale[:, None]

    def _multiplies_values(self, x: Tensor) -> bool:
        # products with up to 448 per weight leave the range of fp16
        return self.kind == "nf4" or x.dtype == torch.float16

    def _product_in_fp8(self, x: Tensor) -> Tensor:
        x_PI = x.flatten(0, -2)
        scale_P1 = x_PI.abs().amax(dim=1, keepdim=True).float().clamp_min(1e-12) / FP8_MAX
        y_PO = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            (x_PI / scale_P1).clamp(-FP8_MAX, FP8_MAX).to(FP8),
            self.weight.t(),
            scale_a=scale_P1,
            scale_b=self.scale[None],
            bias=self.bias,
            out_dtype=x.dtype,
            use_fast_accum=True,
        )
        return y_PO.unflatten(0, x.shape[:-1])

    weight: Tensor
    scale: Tensor


class _FrozenProduct(torch.autograd.Function):
    """The product of a quantised layer, with the gradient of its input.

    The backward pass converts the weight again. Autograd would keep the converted one of every
    layer: as much memory as the model takes without quantisation.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.layer = layer
        return layer.product(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.layer.input_gradient(gradient), None


def quantize(model: WanModel, kind: str) -> WanModel:
    """Quantise the blocks' matrices, in place; all other tensors keep their format.

    Raises:
        UserError: no such kind.
    """
    if kind not in (*KINDS, *FROZEN_KINDS):
        raise UserError(f"model.quantize: {unknown('kind', kind, KINDS)}")
    for parent, name, layer in list(_layers(model)):
        setattr(parent, name, QuantizedLinear(layer, kind))
    return model


def quantized_names(model: WanModel) -> set[str]:
    """Names of the weights that `quantize` replaces."""
    return {
        f"{blocks}.{number}.{part}.{name}.weight"
        for blocks in ("vace_blocks", "blocks")
        for number, block in enumerate(getattr(model, blocks, ()))
        for part, parent in _quantized_parts(block)
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear)
    }


def quantized_tensors(name: str, weight_OI: Tensor, kind: str) -> dict[str, Tensor]:
    """Name -> tensor of the codes and their scales, for the state of a quantised model."""
    quantized, scale_O = _quantized(weight_OI, kind)
    return {name: quantized, name.removesuffix("weight") + "scale": scale_O}


def check_device(kind: str, device: torch.device, dtype: torch.dtype) -> None:
    """Check that a device can multiply in a kind's format.

    Raises:
        UserError: it cannot; names the kinds that it can.
    """
    if kind != "fp8-dynamic":
        return
    able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY
    if not able or dtype != torch.bfloat16:
        raise UserError(
            f"model.quantize: fp8-dynamic multiplies in fp8, which needs bf16 and a GPU of "
            f"capability 8.9 or more; here is {device.type} in "
            f"{str(dtype).removeprefix('torch.')}; `fp8` and `int8` save the same memory anywhere"
        )


def _layers(model: WanModel) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """The blocks' linear layers: the parent module of each, its name there, and the layer."""
    for block in (*getattr(model, "vace_blocks", ()), *model.blocks):
        for _, parent in _quantized_parts(block):
            for name, layer in parent.named_children():
                if isinstance(layer, nn.Linear):
                    yield parent, name, layer


def _quantized_parts(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules of a block whose linear layers are quantised."""
    for path, module in block.named_modules():
        if path.rpartition(".")[2] in ("self_attn", "cross_attn", "ffn"):
            yield path, module


def _quantized(weight_OI: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The matrix in 8 bits, and (O,) fp32 the factor of each of its rows; or those of NF4."""
    if kind == "nf4":
        return quantize_nf4(weight_OI)
    largest, dtype = (INT8_MAX, torch.int8) if kind == "int8" else (FP8_MAX, FP8)
    # The result is allocated before the temporaries: otherwise glibc's heap would grow to the size
    # of the fp32 model (1.3B: 6.5 GB instead of 2.3).
    result = torch.empty(weight_OI.shape, dtype=dtype, device=weight_OI.device)
    scale_O1 = torch.maximum(weight_OI.amax(1, keepdim=True), -weight_OI.amin(1, keepdim=True))
    scale_O1 = scale_O1.float().clamp_min(1e-12) / largest
    scaled = weight_OI / scale_O1
    if kind == "int8":
        scaled.round_().clamp_(-INT8_MAX, INT8_MAX)
    return result.copy_(scaled), scale_O1.flatten()
