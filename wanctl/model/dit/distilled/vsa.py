"""Video sparse attention (VSA, arXiv 2505.13389), as FastWan's models were trained with.

Tokens are divided into tiles of 4 x 4 x 4. Means of the tiles attend to each other, which gives a
coarse output and says which tiles matter; then each token attends to the tokens of the tiles that
its own tile scored highest. A learned gate adds the coarse output.

Shapes: B batch, G groups of M tokens, L tokens, N heads, K head width, D width, S tiles of R
tokens, C chosen tiles.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel
from wanctl.model.dit.blocks import Block
from wanctl.model.dit.distilled.chosen_blocks import attend_to_chosen, blocks_kept
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.rope import RopeTable
from wanctl.model.variants import DiTShape

TILE = (4, 4, 4)


class Tiles(NamedTuple):
    """The tokens of a grid in tiles; those at the far sides may be smaller.

    Attributes:
        tokens: (S, R) number of the token in each place; of any token where there is none.
        valid: (S, R) whether there is one.
        places: (L,) place of each token in all tiles.
        full: whether there is a token in each place.
    """

    tokens: Tensor
    valid: Tensor
    places: Tensor
    full: bool

    @classmethod
    def of(cls, grid: tuple[int, int, int], device: torch.device) -> "Tiles":
        """The tiles of a grid of frames, rows and columns."""
        counts = [-(-size // side) for size, side in zip(grid, TILE, strict=True)]
        tokens = torch.full(
            [count * side for count, side in zip(counts, TILE, strict=True)], -1, device=device
        )
        frames, rows, columns = grid
        tokens[:frames, :rows, :columns] = torch.arange(math.prod(grid), device=device).view(grid)
        sides = [size for pair in zip(counts, TILE, strict=True) for size in pair]
        tokens_SR = tokens.view(sides).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(0, 2)
        valid_SR = tokens_SR >= 0
        places_L = torch.empty(math.prod(grid), dtype=torch.long, device=device)
        places_L[tokens_SR[valid_SR]] = valid_SR.flatten().nonzero()[:, 0]
        return cls(tokens_SR.clamp(min=0), valid_SR, places_L, bool(valid_SR.all()))

    def divide(self, x_BLNK: Tensor) -> Tensor:
        """Tokens in tiles, (B, N, S, R, K)."""
        tiled = x_BLNK.index_select(1, self.tokens.flatten())
        return tiled.unflatten(1, self.tokens.shape).permute(0, 3, 1, 2, 4)

    def join(self, x_BNSRK: Tensor) -> Tensor:
        """Tokens in their order, (B, L, N, K)."""
        return x_BNSRK.permute(0, 2, 3, 1, 4).flatten(1, 2).index_select(1, self.places)

    def means(self, x_BNSRK: Tensor) -> Tensor:
        """The mean of each tile, (B, N, S, K) fp32."""
        weights = self.valid / self.valid.sum(1, keepdim=True)
        return torch.einsum("bnsrk,sr->bnsk", x_BNSRK.float(), weights)


class TiledBlock(Block):
    """A transformer block with video sparse attention."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__(shape, numerics)
        self.to_gate_compress = nn.Linear(shape.dim, shape.dim)

    def attend_to_itself(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        u_of: Callable[[], Tensor],
        rope: RopeTable,
        recompute: bool,
        sparsity: float,
        tiles: Tiles,
    ) -> Tensor:
        """See `Block.attend_to_itself`.

        Args:
            u_of: see there.
            rope: see there.
            recompute: see there.
            sparsity: share of the tiles that a tile does not attend to.
            tiles: of the tokens.
        """
        u_BGMD = u_of()
        gate_BLD = self.to_gate_compress(u_BGMD).flatten(1, 2)
        gate = gate_BLD.unflatten(2, (self.self_attn.num_heads, -1))
        attend = partial(attend_to_tiles, gate_BLNK=gate, tiles=tiles, sparsity=sparsity)
        again = u_of if recompute else None
        return self.self_attn(u_BGMD, rope=rope, recompute=again, attend=attend)


def attend_to_tiles(
    kernel: Kernel,
    q_BLNK: Tensor,
    k_BLNK: Tensor,
    v_BLNK: Tensor,
    *,
    gate_BLNK: Tensor,
    tiles: Tiles,
    sparsity: float,
) -> Tensor:
    """Attention to the tokens of some tiles, and the gated attention of the tiles' means.

    Args:
        kernel: attends to all tokens where no tile is left out.
        q_BLNK: rotated queries.
        k_BLNK: rotated keys.
        v_BLNK: values, in the dtype of the products.
        gate_BLNK: factors of the means' attention.
        tiles: of the tokens.
        sparsity: share of the tiles that a tile does not attend to.

    Returns:
        (B, L, N, K).
    """
    q, k, v = (tiles.divide(each) for each in (q_BLNK, k_BLNK, v_BLNK))
    mean_q, mean_k, mean_v = (tiles.means(each) for each in (q, k, v))
    scores_BNSS = mean_q @ mean_k.mT * q.shape[-1] ** -0.5
    coarse_BNSK = (scores_BNSS.softmax(-1) @ mean_v).to(v.dtype)
    kept = blocks_kept(sparsity, len(tiles.tokens), up=True)
    if kept == len(tiles.tokens):
        fine_BLNK = kernel(q_BLNK, k_BLNK, v_BLNK)
    else:
        chosen_BNSC = scores_BNSS.topk(kept).indices
        valid = None if tiles.full else tiles.valid
        fine_BLNK = tiles.join(attend_to_chosen(q, k, v, chosen_BNSC, valid))
    rows = tiles.valid.shape[1]
    coarse_BLNK = tiles.join(coarse_BNSK[:, :, :, None].expand(-1, -1, -1, rows, -1))
    return fine_BLNK + coarse_BLNK * gate_BLNK
