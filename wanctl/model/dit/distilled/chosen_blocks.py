"""Attention of each block of queries to some blocks of keys: what all sparse attentions share.

Shapes: B batch, N heads, K head width, Q blocks of M queries, S blocks of R keys, C blocks of keys
that a block of queries attends to.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Keys and values are copied for some blocks of queries at a time: at most this many numbers of
# each. On a processor they stay in its cache (sparsity 0.8: half the time of full attention, with
# large pieces all of it); a GPU needs large pieces, 256 MiB in bf16.
GATHERED_NUMBERS = 1 << 27
CPU_NUMBERS = 1 << 20
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
    (batch, heads, count, _, width), (blocks, rows) = q_BNQMK.shape, k_BNSRK.shape[2:4]
    keys = chosen_BNQC.shape[-1] * rows
    most = CPU_NUMBERS if q_BNQMK.device.type == "cpu" else GATHERED_NUMBERS
    step = max(1, most // (batch * heads * keys * width))
    # Rows of whole blocks are copied; an index of three dimensions copies number by number.
    stored = [each.reshape(-1, rows * width) for each in (k_BNSRK, v_BNSRK)]
    firsts_BN11 = torch.arange(0, batch * heads * blocks, blocks, device=q_BNQMK.device)
    firsts_BN11 = firsts_BN11.view(batch, heads, 1, 1)
    parts = []
    for start in range(0, count, step):
        q = q_BNQMK[:, :, start : start + step]
        chosen = chosen_BNQC[:, :, start : start + step]
        places = (chosen + firsts_BN11).flatten()
        k, v = (
            each.index_select(0, places).view(batch * heads, -1, keys, width) for each in stored
        )
        mask = None
        if valid_SR is not None:
            mask = valid_SR[chosen].flatten(3).flatten(0, 1)[:, :, None]
        q, k = q.flatten(0, 1).to(v.dtype), k.to(v.dtype)
        y = F.scaled_dot_product_attention(q, k, v, mask)
        parts.append(y.unflatten(0, (batch, heads)))
    return torch.cat(parts, dim=2)
