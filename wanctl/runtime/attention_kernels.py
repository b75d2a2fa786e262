"""The attention kernels that `model.attention` of a recipe can name.

Shapes: B batch, L query tokens, S key tokens, N heads, K head width.
"""

import importlib
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from wanctl.errors import UserError, unknown
from wanctl.model.dit.attention import Kernel, attention, is_hopper, sdpa

SDPA_BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
# Name -> module, function, its further arguments, and the package to install. FlashAttention-3 is
# as exact as the others; SageAttention takes 8-bit products (1.15-1.35x a whole step on Hopper).
PACKAGES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "fa3": ("flash_attn_interface", "flash_attn_func", {}, "flash-attn-3 (Hopper)"),
    "sage": ("sageattention", "sageattn", {"tensor_layout": "NHD"}, "sageattention"),
}
NAMES = ("auto", "sdpa", *SDPA_BACKENDS, *PACKAGES)


def get_kernel(name: str, device: torch.device, dtype: torch.dtype) -> tuple[Kernel, str]:
    """The kernel of a recipe's name, and its description for the log.

    Raises:
        UserError: no such name, its package is not installed, or it cannot run here.
    """
    if name not in NAMES:
        raise UserError(f"model.attention: {unknown('kernel', name, NAMES)}")
    if name == "auto":
        return attention, backend_name(device, dtype)
    if name == "sdpa":
        return sdpa, "sdpa (torch's own order)"
    half = dtype in (torch.bfloat16, torch.float16)
    if name in PACKAGES:
        return _from_package(name, device, half), name
    if device.type != "cuda" and name != "math":
        raise UserError(f"model.attention: {name!r} is a CUDA kernel and this is {device.type}")
    if name in ("cudnn", "flash") and not half:
        raise UserError(f"model.attention: {name!r} takes bf16 or fp16; set model.dtype=bf16")
    return partial(_sdpa_by, SDPA_BACKENDS[name]), f"sdpa ({name} only)"


def backend_name(device: torch.device, dtype: torch.dtype) -> str:
    """The backend that `attention` prefers on this device, for the log."""
    if device.type != "cuda":
        return f"sdpa ({device.type})"
    if dtype in (torch.bfloat16, torch.float16):
        return "sdpa (cudnn first)" if is_hopper(device) else "sdpa (flash first)"
    return "sdpa (memory-efficient)"


def _sdpa_by(backend: SDPBackend, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with sdpa_kernel(backend):
        return sdpa(q, k, v)


def _from_package(name: str, device: torch.device, half: bool) -> Kernel:
    module, function, more, package = PACKAGES[name]
    if device.type != "cuda" or not half:
        raise UserError(
            f"model.attention: {name!r} runs on CUDA in bf16 or fp16; here is {device.type}"
            + ("" if half else " in fp32")
        )
    try:
        kernel = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"model.attention: {name!r} needs the package {package} ({error}); `auto` needs none"
        ) from None

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output = kernel(q.to(v.dtype), k.to(v.dtype), v, **more)
        return output[0] if isinstance(output, tuple) else output  # some releases add the log-sum

    return attend
