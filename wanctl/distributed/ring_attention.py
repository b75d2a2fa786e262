"""Attention to a part of the keys, and the exact merge of such partial results.

A softmax over all keys is the mean of softmaxes over parts of them, each weighted by the sum of
its exponentials; a partial result therefore keeps the logarithm of that sum (arXiv 2310.01889).

Shapes: B batch, L query tokens, S key tokens, N heads, K head width.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wanctl.model.dit.attention import HOPPER

HALF = (torch.float16, torch.bfloat16)


class PartialSoftmax(NamedTuple):
    """Attention to a part of the keys.

    Attributes:
        output: (B, L, N, K) fp32.
        log_sum: (B, L, N, 1) fp32, logarithm of the sum of each softmax's exponentials.
    """

    output: Tensor
    log_sum: Tensor


def attend_partial(q_BLNK: Tensor, k_BSNK: Tensor, v_BSNK: Tensor) -> PartialSoftmax:
    """softmax(q k^T / sqrt(K)) v over these keys, with the logarithm of the softmax's sum.

    The kernels are those of `scaled_dot_product_attention`, which does not return the logarithm.
    """
    q, k, v = (x.transpose(1, 2) for x in (q_BLNK, k_BSNK, v_BSNK))
    aten = torch.ops.aten
    if v.is_cuda and v.dtype in HALF:
        if torch.cuda.get_device_capability(v.device)[0] == HOPPER:
            out, log_sum, *_ = aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
        else:
            out, log_sum, *_ = aten._scaled_dot_product_flash_attention(q, k, v)
    elif v.is_cuda:
        out, log_sum, *_ = aten._scaled_dot_product_efficient_attention(q, k, v, None, True)
    elif v.device.type == "cpu":
        out, log_sum = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    else:
        out, log_sum = _attend_plain(q, k, v)
    # The memory-efficient kernel rounds the number of queries up, cuDNN's keeps a last axis of 1.
    log_sum = log_sum.reshape(*out.shape[:2], -1)[:, :, : out.shape[2]]
    return PartialSoftmax(out.float().transpose(1, 2), log_sum.float().transpose(1, 2)[..., None])


def merge(one: PartialSoftmax, other: PartialSoftmax) -> PartialSoftmax:
    """Attention to the keys of both parts."""
    log_sum = torch.logaddexp(one.log_sum, other.log_sum)
    # one * w + other * (1 - w) with w = exp(one.log_sum - log_sum), without cancellation
    weight = torch.sigmoid(other.log_sum - one.log_sum)
    return PartialSoftmax(torch.lerp(one.output, other.output, weight), log_sum)


def _attend_plain(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The definition: output (B, N, L, K) and log-sum (B, N, L)."""
    scores = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[3])
    return scores.softmax(3).to(v.dtype) @ v, scores.logsumexp(3)
