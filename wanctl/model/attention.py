"""One attention function; which kernel runs it is decided here and nowhere else.

Shapes: B batch, L query tokens, S key tokens, N heads, K head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

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

    Queries and keys are cast to the values' dtype, which the linear layers decided.
    """
    q_BLNK, k_BSNK = q_BLNK.to(v_BSNK.dtype), k_BSNK.to(v_BSNK.dtype)
    q, k, v = q_BLNK.transpose(1, 2), k_BSNK.transpose(1, 2), v_BSNK.transpose(1, 2)
    if _prefers_cudnn(v):
        with sdpa_kernel(HOPPER_ORDER, set_priority=True):
            return F.scaled_dot_product_attention(q, k, v, bias_B11S).transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, bias_B11S).transpose(1, 2)


def backend_name(device: torch.device, dtype: torch.dtype) -> str:
    """What `attention` will ask for on this device, for printing."""
    if device.type != "cuda":
        return f"sdpa ({device.type})"
    if dtype in (torch.bfloat16, torch.float16):
        return "sdpa (cudnn first)" if _is_hopper(device) else "sdpa (flash first)"
    return "sdpa (memory-efficient)"


def _prefers_cudnn(x: Tensor) -> bool:
    half = x.dtype in (torch.bfloat16, torch.float16)
    return x.is_cuda and half and _is_hopper(x.device)


def _is_hopper(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] == HOPPER
