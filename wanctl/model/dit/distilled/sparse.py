"""A transformer with sparse self-attention."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.distilled.sla import LinearBlock, LinearBranch
from wanctl.model.dit.distilled.vsa import TiledBlock, Tiles
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.transformer import WanModel

# Share of the blocks of keys that the authors leave out in their own runs.
SPARSITY = {"vsa": 0.8, "sla": 0.9}

tiles_of = lru_cache(maxsize=4)(Tiles.of)  # of every block in every step


class SparseModel(WanModel):
    """A transformer whose blocks attend to a part of the tokens."""

    def make_block(self, numerics: Numerics) -> nn.Module:
        """One of `blocks`, without weights."""
        kinds = {"vsa": TiledBlock, "sla": LinearBlock}
        return kinds[self.shape.sparse_attention](self.shape, numerics)

    def init_weights(self, generator: torch.Generator | None = None) -> "SparseModel":
        """Draw the official initial weights, with which full attention is the base's."""
        super().init_weights(generator)
        for module in self.modules():
            if isinstance(module, TiledBlock):
                nn.init.zeros_(module.to_gate_compress.weight)
            elif isinstance(module, LinearBranch):
                nn.init.zeros_(module.proj_l.weight)
        return self

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        image_BIE: Tensor | None = None,
        sparsity: float | None = None,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T, Y, X) fp32.

        Args:
            latents_BCTYX: see `WanModel.forward`.
            timesteps: see `WanModel.forward`.
            context_BSE: see `WanModel.forward`.
            image_BIE: see `WanModel.forward`.
            sparsity: share of the blocks of keys that a block of queries does not attend to; None:
                that of the authors' runs. At 0 the branches of sparse attention are still added.

        Raises:
            ValueError: a shape does not fit the model, or processes share the tokens.
        """
        if self.context_parallel is not None:
            raise ValueError("sparsity: processes cannot share the tokens of sparse attention")
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE)
        kind = self.shape.sparse_attention
        share = SPARSITY[kind] if sparsity is None else sparsity
        each = (share, tiles_of(grid, latents_BCTYX.device)) if kind == "vsa" else (share,)
        times, beside = self._embed_time(timesteps), [each] * len(self.blocks)
        return self.run(latents_BCTYX, grid, times, context_BSE, image_BIE, beside)
