"""Attention of each block of queries to some blocks of keys: what all sparse attentions share.

Shapes: B batch, N heads, K head width, Q blocks of M queries, S blocks of R keys, C blocks of keys
that a block of queries attends to.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Keys and values are copied for some blocks of queries at a time: at most this many numbers of
# each, 256 MiB in bf16. Smaller pieces leave a GPU idle, and no piece saves memory of the rest.
GATHERED_NUMBERS = 1 << 27
ROUNDING = 1e-6  # of a share times a number of blocks


def blocks_kept(sparsity: float, count: int, *, up: bool) -> int:
    """Blocks of keys that are attended to, of `count`; at least one.

    Args:
        sparsity: share of the blocks that is left out.
        count: of all blocks.
        up: whether a part of a block counts as one.
    """
    share = (1 - sparsity) * count
    kept = math.ceil(share - ROUNDING) if up else math.floor(share + ROUNDING)
    return min(max(kept, 1), count)


def attend_to_chosen(
    q_BNQMK: Tensor,
    k_BNSRK: Tensor,
    v_BNSRK: Tensor,
    chosen_BNQC: Tensor,
    valid_SR: Tensor | None = None,
) -> Tensor:
    """Attention of each block of queries to its blocks of keys, (B, N, Q, M, K).

    Args:
        q_BNQMK: queries.
        k_BNSRK: keys.
        v_BNSRK: values, in the dtype of the products.
        chosen_BNQC: numbers of the blocks of keys, each at most once.
        valid_SR: whether a key is one, where blocks are filled up; None: all are.
    """
    (batch, heads, count, _, width), rows = q_BNQMK.shape, k_BNSRK.shape[3]
    keys = chosen_BNQC.shape[-1] * rows
    step = max(1, GATHERED_NUMBERS // (batch * heads * keys * width))
    items = torch.arange(batch, device=q_BNQMK.device)[:, None, None]
    every_head = torch.arange(heads, device=q_BNQMK.device)[:, None]
    parts = []
    for start in range(0, count, step):
        q = q_BNQMK[:, :, start : start + step]
        chosen = chosen_BNQC[:, :, start : start + step]
        places = items, every_head, chosen.flatten(2)
        k, v = (
            each[places].unflatten(2, chosen.shape[2:]).flatten(3, 4) for each in (k_BNSRK, v_BNSRK)
        )
        mask = None
        if valid_SR is not None:
            mask = valid_SR[chosen].flatten(3).flatten(0, 1)[:, :, None]
        q, k, v = (each.flatten(0, 1).to(v_BNSRK.dtype) for each in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, mask)
        parts.append(y.unflatten(0, (batch, heads)))
    return torch.cat(parts, dim=2)
