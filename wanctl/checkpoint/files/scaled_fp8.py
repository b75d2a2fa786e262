"""Weights in fp8 as community files store them, each matrix with one scale.

The weight is the product of `LAYER.weight` (e4m3) and `LAYER.scale_weight`, one fp32 number. An
empty tensor named `scaled_fp8` marks the file. Newer files have `LAYER.weight_scale` and
`LAYER.comfy_quant`; these are read as well. Scales of activations are not used.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from wanctl.checkpoint.files.tensor_files import WeightsError, read_tensors

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max
MARKER = "scaled_fp8"
SCALE_SUFFIX = ".scale_weight"
WEIGHT_SCALE_SUFFIXES = (SCALE_SUFFIX, ".weight_scale")
SCALE_KEY_SUFFIXES = (*WEIGHT_SCALE_SUFFIXES, ".scale_input", ".input_scale", ".comfy_quant")


def is_scale_key(name: str) -> bool:
    """Whether the tensor of this name describes how a parameter is stored and is none itself."""
    return name.endswith(SCALE_KEY_SUFFIXES) or name.rpartition(".")[2] == MARKER


def scale_name(weight: str) -> str:
    """Name of the scale of a weight."""
    return weight.removesuffix(".weight") + SCALE_SUFFIX


def read_scales(files: Iterable[Path], names: Iterable[str]) -> dict[str, Tensor]:
    """Read the scales: stored name of the weight -> its scale.

    Args:
        files: all files of a network.
        names: names of all their tensors.
    """
    scale_names = {name for name in names if name.endswith(WEIGHT_SCALE_SUFFIXES)}
    if not scale_names:
        return {}
    return {weight_of(name): tensor for name, tensor in read_tensors(files, scale_names)}


def dequantize(name: str, tensor: Tensor, scales: Mapping[str, Tensor]) -> Tensor:
    """A stored tensor times its scale, in fp32; a tensor without a scale unchanged.

    Raises:
        WeightsError: the scale is neither one number nor one for each row, or the tensor is packed
            in another way.
    """
    scale = scales.get(name)
    if scale is None:
        return tensor
    if not tensor.dtype.is_floating_point:
        raise WeightsError(
            f"{name}: holds {str(tensor.dtype).removeprefix('torch.')} with a scale; supported "
            "are fp8 with scales, and plain numbers"
        )
    scale = scale.float()
    if scale.numel() == 1:
        return tensor.float() * scale.reshape(())
    if scale.numel() == tensor.shape[0]:
        return tensor.float() * scale.reshape(-1, *[1] * (tensor.ndim - 1))
    raise WeightsError(
        f"{name}: its scale has shape {tuple(scale.shape)}; supported are one number for "
        "all of it and one for each row"
    )


def to_fp8(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise to (e4m3 tensor, fp32 scale of one number); the largest value becomes 448."""
    value = tensor.float()
    scale = value.abs().amax().clamp_min(torch.finfo(torch.float32).tiny) / FP8_MAX
    return (value / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


def marker() -> Tensor:
    """The empty tensor that marks a file whose fp8 has scales."""
    return torch.empty(0, dtype=FP8)


def weight_of(scale: str) -> str:
    """Stored name of the weight that a scale belongs to; empty for other descriptions of it."""
    ending = next((each for each in WEIGHT_SCALE_SUFFIXES if scale.endswith(each)), None)
    return scale.removesuffix(ending) + ".weight" if ending else ""
