"""Large matrices in 8 bits: half the memory of bf16, and with `fp8-dynamic` faster products.

Each output channel has a scale. `int8` and `fp8` store 8 bits and multiply in the model's own
format, so only the weights are rounded; `fp8-dynamic` also rounds the activations, each token by
a scale of its own, and multiplies in fp8 (GPUs of capability 8.9 and up). All three change the
video; what they do to a velocity is measured in tests and in docs/benchmarks.md.

Shapes: O outputs, I inputs, P rows.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import UserError, unknown
from wanctl.model.dit.transformer import WanModel

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max
INT8_MAX = 127.0
FP8_CAPABILITY = (8, 9)
KINDS = ("int8", "fp8", "fp8-dynamic")


class QuantizedLinear(nn.Module):
    """`nn.Linear` with an 8-bit weight.

    Args:
        linear: the layer that it replaces; the products run in the dtype of its bias.
        kind: one of KINDS.
    """

    def __init__(self, linear: nn.Linear, kind: str) -> None:
        super().__init__()
        weight, scale = _quantized(linear.weight.detach(), kind)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """(..., O) in the dtype of the bias."""
        if self.kind == "fp8-dynamic":
            return self._product_in_fp8(x.to(self.bias.dtype))
        x = x.to(self.bias.dtype)
        if x.dtype == torch.float16:  # products with up to 448 per weight leave its range
            return F.linear(x, (self.weight.float() * self.scale[:, None]).to(x), self.bias)
        # The scale comes after the product: one multiplication per output, not per weight.
        return torch.addcmul(self.bias, F.linear(x, self.weight.to(x.dtype)), self.scale.to(x))

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


def quantize(model: WanModel, kind: str) -> WanModel:
    """Quantise the blocks' matrices to 8 bits, in place; all other tensors keep their format.

    Raises:
        UserError: no such kind.
    """
    if kind not in KINDS:
        raise UserError(f"model.quantize: {unknown('kind', kind, KINDS)}")
    for parent, name, layer in list(_layers(model)):
        setattr(parent, name, QuantizedLinear(layer, kind))
    return model


def quantized_names(model: WanModel) -> set[str]:
    """Names of the weights that `quantize` turns into 8 bits."""
    return {
        f"{blocks}.{number}.{part}.{name}.weight"
        for blocks in ("vace_blocks", "blocks")
        for number, block in enumerate(getattr(model, blocks, ()))
        for part, parent in _quantized_parts(block)
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear)
    }


def quantized_tensors(name: str, weight_OI: Tensor, kind: str) -> dict[str, Tensor]:
    """Name -> tensor of the 8-bit weight and its scale, for the state of a quantised model."""
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
    for name in ("self_attn", "cross_attn", "ffn"):
        yield name, block.get_submodule(name)


def _quantized(weight_OI: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The matrix in 8 bits, and (O,) fp32 the factor of each of its rows."""
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
