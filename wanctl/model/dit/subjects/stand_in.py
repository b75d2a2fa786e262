"""Stand-In: the tokens of a face, which those of the video attend to.

A face is one latent frame. Its tokens go through the same blocks without the text, at timestep 0,
and attend to themselves alone; low-rank matrices are added to their queries, keys and values. So
their keys and values depend neither on the video nor on the step nor on the prompt, and are
computed once for a sample.

Parameter names are the published ones.

Shapes: B batch, C channels, G groups of M tokens that share a timestep, L tokens of the video, H of
the face, N heads, K head width, D width, E text width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel
from wanctl.model.dit.blocks import AttendWith, Attention, Block, product_dtype, run_in_weight_dtype
from wanctl.model.dit.checks import check_inputs, check_latents
from wanctl.model.dit.context import Context, KeysValues, PrecomputedContext
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.rope import RopeTable
from wanctl.model.dit.transformer import WanModel, embed_patches
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

FACE_FRAME = -1
"""Position of the face in time; in space it follows the last row and column of the video."""


class FaceKeys(NamedTuple):
    """Keys and values of a face in one block, (1, H, N, K) each."""

    k: Tensor
    v: Tensor

    def attend(self, kernel: Kernel, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of the video's tokens to themselves and to the face."""
        face_k, face_v = (part.expand(len(k), -1, -1, -1) for part in self)
        k, v = torch.cat((k, face_k.to(k.dtype)), dim=1), torch.cat((v, face_v.to(v.dtype)), dim=1)
        return kernel(q, k, v)


class LowRank(nn.Module):
    """A matrix as the product of two narrow ones; zero at first."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) in the dtype of the weights."""
        return self.up(self.down(x))


class FaceAttention(Attention):
    """Self-attention with other queries, keys and values for the tokens of a face."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__(shape, numerics)
        self.q_loras, self.k_loras, self.v_loras = (
            LowRank(shape.dim, shape.face_rank) for _ in range(3)
        )

    def read_face(self, u_BGMD: Tensor, rope: RopeTable) -> tuple[Tensor, FaceKeys]:
        """The face's attention to itself, (1, G, M, D), and what others attend to."""
        u = u_BGMD.flatten(1, 2)
        q, k, v = (
            layer(u) + run_in_weight_dtype(more, u).to(u.dtype)
            for layer, more in (
                (self.q, self.q_loras), (self.k, self.k_loras), (self.v, self.v_loras),
            )
        )  # fmt: skip
        q = self._queries_or_keys(q, self.norm_q, rope)
        keys = FaceKeys(self._queries_or_keys(k, self.norm_k, rope), self._heads(v))
        y = self.kernel(q, keys.k, keys.v)
        return self.o(y.flatten(2)).unflatten(1, u_BGMD.shape[1:3]), keys


class FaceBlock(Block):
    """A transformer block whose tokens also attend to those of a face."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__(shape, numerics)
        self.self_attn = FaceAttention(shape, numerics)

    def forward(
        self,
        x_BGMD: Tensor,
        e6_BG6D: Tensor,
        context: Context | KeysValues | list[FaceKeys],
        rope: RopeTable,
        *beside: AttendWith,
    ) -> Tensor:
        """The residual stream after this block: of the video, or of the face.

        Args:
            x_BGMD: see `Block.forward`.
            e6_BG6D: see `Block.forward`.
            context: what the video's cross-attention attends to; for a face, which has none, the
                list to which the block's keys and values are added.
            rope: rotary tables of the tokens.
            beside: attention to the face as well, for the video.
        """
        if isinstance(context, list):
            return self._read_face(x_BGMD, e6_BG6D, rope, context)
        return super().forward(x_BGMD, e6_BG6D, context, rope, *beside)

    def _read_face(
        self, x_BGMD: Tensor, e6_BG6D: Tensor, rope: RopeTable, kept: list[FaceKeys]
    ) -> Tensor:
        ops, attention = self._numerics, self.self_attn
        assert isinstance(attention, FaceAttention)
        modulation = (self.modulation.float() + e6_BG6D)[:, :, :, None].unbind(2)
        shift_attn, scale_attn, gate_attn, shift_ffn, scale_ffn, gate_ffn = modulation
        u = ops.modulated_norm(x_BGMD, shift_attn, scale_attn, self.eps)
        y, keys = attention.read_face(u.to(product_dtype(attention.q)), rope)
        kept.append(keys)
        x_BGMD = ops.gated_add(x_BGMD, y, gate_attn, inplace=False)
        u = ops.modulated_norm(x_BGMD, shift_ffn, scale_ffn, self.eps)
        up = self.ffn[0]
        y = self._feed_forward(u.to(product_dtype(up)), recompute=None)
        return ops.gated_add(x_BGMD, y, gate_ffn, inplace=False)


class FaceModel(WanModel):
    """A transformer of `FaceBlock`s; without a face it is its base."""

    def make_block(self, numerics: Numerics) -> nn.Module:
        """One of `blocks`, without weights."""
        return FaceBlock(self.shape, numerics)

    def init_weights(self, generator: torch.Generator | None = None) -> "FaceModel":
        """Draw the official initial weights, with which the face's matrices are the base's."""
        super().init_weights(generator)
        for module in self.modules():
            if isinstance(module, LowRank):
                nn.init.normal_(module.down.weight, std=1 / self.shape.face_rank)
                nn.init.zeros_(module.up.weight)
        return self

    @torch.no_grad()
    def read_face(self, face_BCYX: Tensor, sides: tuple[int, int]) -> list[FaceKeys]:
        """Keys and values of a face in every block.

        Args:
            face_BCYX: latents of one face.
            sides: rows and columns of the video's latents.

        Raises:
            ValueError: a shape does not fit the model.
        """
        timesteps = face_BCYX.new_zeros(1)
        latents = face_BCYX[:, :, None]
        grid = check_latents(self.shape, latents, timesteps)
        start = (FACE_FRAME, sides[0] // PATCH[1], sides[1] // PATCH[2])
        rope = self._rope.get(grid, latents.device, start)
        _, e6_BG6D = self._embed_time(timesteps)
        x_BGMD = self._numerics.residual(embed_patches(latents, self.patch_embedding)[:, None])
        kept: list[FaceKeys] = []
        for block in self.blocks:
            x_BGMD = block(x_BGMD, e6_BG6D, kept, rope)
        return kept

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        face: Sequence[FaceKeys] | None = None,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T, Y, X) fp32.

        Args:
            latents_BCTYX: see `WanModel.forward`.
            timesteps: see `WanModel.forward`.
            context_BSE: see `WanModel.forward`.
            face: what `read_face` returned for latents of these sides; None: there is no face.

        Raises:
            ValueError: a shape does not fit the model, or processes share the tokens.
        """
        if face is None:
            return super().forward(latents_BCTYX, timesteps, context_BSE)
        if self.context_parallel is not None:
            raise ValueError("face: processes cannot share the tokens of a video with a face")
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE)
        times = self._embed_time(timesteps)
        beside = [(keys.attend,) for keys in face]
        return self.run(latents_BCTYX, grid, times, context_BSE, beside=beside)
