"""Ring attention: attention to parts of the keys, whose partial results are merged exactly.

A softmax over all keys is the mean of softmaxes over parts of them, each weighted by the sum of
its exponentials; a partial result therefore keeps the logarithm of that sum (arXiv 2310.01889).

Shapes: B batch, L query tokens, S key tokens, N heads, K head width.
"""

import itertools
import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from wanctl.distributed.mesh import Axis
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


def attend_partial_backward(
    gradient_BLNK: Tensor, q_BLNK: Tensor, k_BSNK: Tensor, v_BSNK: Tensor, whole: PartialSoftmax
) -> tuple[Tensor, Tensor, Tensor]:
    """What a part of the keys contributes to the gradients of queries, keys and values.

    The probabilities of these keys follow from the logarithm of the sum over all keys, so the
    backward pass of a kernel for this part alone is right once it gets the whole result.

    Args:
        gradient_BLNK: of the merged output.
        q_BLNK: as in `attend_partial`.
        k_BSNK: as in `attend_partial`.
        v_BSNK: as in `attend_partial`.
        whole: the merged result of all parts; of the output's dtype.
    """
    tensors = (gradient_BLNK, q_BLNK, k_BSNK, v_BSNK, whole.output.to(q_BLNK.dtype))
    gradient, q, k, v, out = (x.transpose(1, 2) for x in tensors)
    log_sum = whole.log_sum[..., 0].transpose(1, 2).contiguous()
    if v.device.type == "cpu":
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        gradients = backward(gradient, q, k, v, out, log_sum, 0.0, False)
    elif v.is_cuda and v.dtype in HALF:
        backward = torch.ops.aten._scaled_dot_product_flash_attention_backward
        lengths = (None, None, q.shape[2], k.shape[2])  # no batch of sequences of other lengths
        unused = q.new_zeros(2, dtype=torch.uint64), q.new_zeros(1, dtype=torch.uint64)
        gradients = backward(gradient, q, k, v, out, log_sum, *lengths, 0.0, False, *unused)
    else:
        gradients = _backward_plain(gradient, q, k, v, out, log_sum)
    dq, dk, dv = (each.transpose(1, 2) for each in gradients)
    return dq, dk, dv


def ring_attention(
    q_BLNK: Tensor, k_BLNK: Tensor, v_BLNK: Tensor, ring: Axis, counts: list[int]
) -> Tensor:
    """Attention of this process's queries to the keys of all processes of a ring, (B, L, N, K).

    Args:
        q_BLNK: queries.
        k_BLNK: keys of this process, which go around.
        v_BLNK: their values.
        ring: the processes.
        counts: keys of each of them.
    """
    return _RingAttention.apply(q_BLNK, k_BLNK, v_BLNK, ring, counts)


class _RingAttention(torch.autograd.Function):
    """Keys and values go around the ring; on the way back their gradients go with them."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, ring: Axis, counts: list[int]
    ) -> Tensor:
        held = torch.stack((k, v))
        merged: PartialSoftmax | None = None
        for step in range(ring.size):
            arriving, transfers = _pass_on(held, ring, counts, step)
            part = attend_partial(q, *held.unbind())
            merged = part if merged is None else merge(merged, part)
            held = _arrived(held, arriving, transfers)
        assert merged is not None
        output = merged.output.to(v.dtype)
        ctx.save_for_backward(q, k, v, output, merged.log_sum)
        ctx.ring = ring, counts
        return output

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (ring, counts), (q, k, v, *merged) = ctx.ring, ctx.saved_tensors
        whole, held = PartialSoftmax(*merged), torch.stack((k, v))
        dq = torch.zeros_like(q, dtype=torch.float32)
        sums = torch.zeros_like(held, dtype=torch.float32)  # gradients of the keys that are held
        for step in range(ring.size):
            arriving, transfers = _pass_on(held, ring, counts, step)
            part = attend_partial_backward(gradient.contiguous(), q, held[0], held[1], whole)
            dq += part[0]
            sums += torch.stack(part[1:])
            held = _arrived(held, arriving, transfers)
            # after the last step they arrive where the keys came from
            sums = _arrived(sums, *_pass_on(sums, ring, counts, step, last=True))
        dk, dv = sums.to(k.dtype).unbind()
        return dq.to(q.dtype), dk, dv, None, None


def _pass_on(
    held: Tensor, ring: Axis, counts: list[int], step: int, *, last: bool = False
) -> tuple[Tensor | None, list[dist.Work]]:
    """Start to send what belongs to the keys held in a step, and to receive the next.

    Args:
        held: (2, B, L, N, K).
        ring: the processes.
        counts: keys of each of them.
        step: from 0; the keys held then come from the process so many places before.
        last: whether something is sent after the last step too.

    Returns:
        What is being received, None if nothing is; and the transfers.
    """
    if step == ring.size - 1 and not last:
        return None, []
    source = (ring.index - step - 1) % ring.size
    arriving = held.new_empty((*held.shape[:2], counts[source], *held.shape[3:]))
    return arriving, ring.shift(held, arriving)


def _arrived(held: Tensor, arriving: Tensor | None, transfers: list[dist.Work]) -> Tensor:
    for transfer in transfers:
        transfer.wait()
    return held if arriving is None else arriving


def _attend_plain(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The definition: output (B, N, L, K) and log-sum (B, N, L)."""
    scores = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[3])
    return scores.softmax(3).to(v.dtype) @ v, scores.logsumexp(3)


def _backward_plain(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sum: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition, for tensors of (B, N, L or S, K), one item's head at a time."""
    dq, dk, dv = (torch.zeros_like(each, dtype=torch.float32) for each in (q, k, v))
    scale = 1 / math.sqrt(q.shape[3])
    for item in itertools.product(range(q.shape[0]), range(q.shape[1])):
        one_q, one_k, one_v, one_gradient, one_out = (
            each[item].float() for each in (q, k, v, gradient, out)
        )
        weights_LS = torch.exp(one_q @ one_k.T * scale - log_sum[item][:, None])
        dv[item] = weights_LS.T @ one_gradient
        both = (one_gradient * one_out).sum(1, keepdim=True)
        scores_LS = weights_LS * (one_gradient @ one_v.T - both) * scale
        dq[item], dk[item] = scores_LS @ one_k, scores_LS.T @ one_q
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)
