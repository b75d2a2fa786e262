"""Scaled dot-product attention: the transformer's default kernel.

`wanctl/runtime/attention_kernels.py` lists the kernels that a recipe can name instead.
Shapes: B batch, L query tokens, S key tokens, N heads, K head width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, L, N, K) queries, (B, S, N, K) keys and values -> (B, L, N, K)."""

# On Hopper cuDNN's kernel is 1.6-1.9x the FlashAttention-2 that SDPA would try first; on Ampere
# and Blackwell it is the slower one, hence the exact capability.
HOPPER = 9
HOPPER_ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def attention(
    q_BLNK: Tensor, k_BSNK: Tensor, v_BSNK: Tensor, bias_B11S: Tensor | None = None
) -> Tensor:
    """softmax(q k^T / sqrt(K) + bias) v without a mask, (B, L, N, K).

    Queries and keys are cast to the values' dtype, which is that of the linear layers.
    """
    if _prefers_cudnn(v_BSNK):
        with sdpa_kernel(HOPPER_ORDER, set_priority=True):
            return sdpa(q_BLNK, k_BSNK, v_BSNK, bias_B11S)
    return sdpa(q_BLNK, k_BSNK, v_BSNK, bias_B11S)


def sdpa(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Torch's scaled dot-product attention, in its own order of kernels; shapes as `attention`."""
    q, k = q.to(v.dtype).transpose(1, 2), k.to(v.dtype).transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v.transpose(1, 2), bias).transpose(1, 2)


def _prefers_cudnn(x: Tensor) -> bool:
    half = x.dtype in (torch.bfloat16, torch.float16)
    return x.is_cuda and half and is_hopper(x.device)


def is_hopper(device: torch.device) -> bool:
    """Whether a CUDA device is of the Hopper generation."""
    return torch.cuda.get_device_capability(device)[0] == HOPPER
