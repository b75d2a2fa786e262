"""Sparse-linear attention (SLA, arXiv 2509.24006), as TurboDiffusion's models were trained with.

Blocks of queries attend to the blocks of keys whose means score highest; a linear attention to all
keys, projected, makes up for the rest. A block is a run of tokens in their order.

Shapes: B batch, G groups of M tokens, L tokens, N heads, K head width, D width, Q blocks of
queries, S blocks of keys, C chosen blocks of keys.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel
from wanctl.model.dit.blocks import Block, run_in_weight_dtype
from wanctl.model.dit.distilled.chosen_blocks import attend_to_chosen, blocks_kept
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.rope import RopeTable
from wanctl.model.variants import DiTShape

QUERY_BLOCK, KEY_BLOCK = 128, 64
LEAST_SUM = 1e-5  # added to the sum of a linear attention's weights


class LinearBranch(nn.Module):
    """The projection of the linear attention; it adds nothing before it is trained."""

    def __init__(self, shape: DiTShape) -> None:
        super().__init__()
        self.proj_l = nn.Linear(shape.head_dim, shape.head_dim)

    def forward(self, q_BLNK: Tensor, k_BLNK: Tensor, v_BLNK: Tensor) -> Tensor:
        """Projected linear attention, (B, L, N, K) in the dtype of the values.

        The features of a query or key are its softmax over the head's width.
        """
        dtype = v_BLNK.dtype
        q, k = (each.transpose(1, 2).to(dtype).softmax(-1) for each in (q_BLNK, k_BLNK))
        sums_BNL1 = (q * k.sum(2, keepdim=True)).sum(-1, keepdim=True)
        y = q @ (k.mT @ v_BLNK.transpose(1, 2)) / (LEAST_SUM + sums_BNL1)
        return run_in_weight_dtype(self.proj_l, y.transpose(1, 2)).to(dtype)


class LinearBlock(Block):
    """A transformer block with sparse-linear attention.

    The branch is at the place where the published files have it, `self_attn.attn_op.local_attn`.
    """

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__(shape, numerics)
        holder = nn.Module()
        holder.local_attn = LinearBranch(shape)
        self.self_attn.attn_op = holder

    @property
    def branch(self) -> LinearBranch:
        """The linear attention."""
        branch = self.self_attn.get_submodule("attn_op.local_attn")
        assert isinstance(branch, LinearBranch)
        return branch

    def attend_to_itself(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        u_of: Callable[[], Tensor],
        rope: RopeTable,
        recompute: bool,
        sparsity: float,
    ) -> Tensor:
        """See `Block.attend_to_itself`; `sparsity` is the share of keys' blocks left out."""
        attend = partial(attend_to_blocks, branch=self.branch, sparsity=sparsity)
        return super().attend_to_itself(u_of, rope, recompute, attend)


def attend_to_blocks(
    kernel: Kernel,
    q_BLNK: Tensor,
    k_BLNK: Tensor,
    v_BLNK: Tensor,
    *,
    branch: LinearBranch,
    sparsity: float,
) -> Tensor:
    """Attention to some blocks of keys plus the linear attention to all, (B, L, N, K).

    Args:
        kernel: attends to all keys where no block is left out.
        q_BLNK: rotated queries.
        k_BLNK: rotated keys.
        v_BLNK: values, in the dtype of the products.
        branch: the linear attention.
        sparsity: share of the blocks of keys that a block of queries does not attend to.
    """
    length = q_BLNK.shape[1]
    count = -(-length // KEY_BLOCK)
    kept = blocks_kept(sparsity, count, up=False)
    if kept == count:
        y_BLNK = kernel(q_BLNK, k_BLNK, v_BLNK)
    else:
        q, mean_q = _blocks(q_BLNK, QUERY_BLOCK)
        (k, mean_k), (v, _) = _blocks(k_BLNK, KEY_BLOCK), _blocks(v_BLNK, KEY_BLOCK)
        chosen_BNQC = (mean_q @ mean_k.mT).topk(kept).indices
        valid = None
        if length % KEY_BLOCK:
            places = torch.arange(count * KEY_BLOCK, device=q.device)
            valid = (places < length).view(count, KEY_BLOCK)
        y_BNQMK = attend_to_chosen(q, k, v, chosen_BNQC, valid)
        y_BLNK = y_BNQMK.flatten(2, 3)[:, :, :length].transpose(1, 2)
    return y_BLNK + branch(q_BLNK, k_BLNK, v_BLNK)


def _blocks(x_BLNK: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Tokens in blocks, (B, N, blocks, size, K), the last filled with zeros; their fp32 means."""
    length = x_BLNK.shape[1]
    x = F.pad(x_BLNK.transpose(1, 2), (0, 0, 0, -length % size)).unflatten(2, (-1, size))
    sizes = torch.full((x.shape[2], 1), float(size), device=x.device)
    sizes[-1] = (length - 1) % size + 1
    return x, x.float().sum(3) / sizes
