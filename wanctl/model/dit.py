"""The Wan diffusion transformer (text to video and text to image).

Latents are cut into patches of 1x2x2, pass through blocks of self-attention, cross-attention to
the text and a feed-forward layer, and come out as a velocity of the same shape. Timesteps enter as
shifts, scales and gates. Parameter names are the published ones, so official files load by name.

Shapes: B batch, C channels, T frames, Y/X latent rows/columns, L tokens, S text tokens,
E text width, D width, N heads, K head width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wanctl.errors import unknown
from wanctl.model.attention import attention
from wanctl.model.numerics import NUMERICS, Numerics
from wanctl.model.rope import RopeCache, RopeTable
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

# Parameters that keep fp32 when the model runs in bf16: everything that is not a large product.
FP32_PARTS = ("time_embedding", "time_projection", "modulation", "norm", "head")


def keeps_fp32(name: str) -> bool:
    """Whether the parameter of this name stays fp32 in a half-precision model."""
    return any(part.startswith(FP32_PARTS) for part in name.split("."))


class WanModel(nn.Module):
    """Predicts the velocity (noise - video) of noisy latents.

    Args:
        shape: sizes; every head width that is even works.
        precision: `reference` rounds where the official code does, `fast` takes fewer passes.

    Raises:
        ValueError: the width does not divide into heads, or no such precision.
    """

    def __init__(self, shape: DiTShape, precision: str = "fast") -> None:
        super().__init__()
        if shape.dim % shape.num_heads or shape.head_dim % 2:
            raise ValueError(f"dim {shape.dim} does not split into {shape.num_heads} even heads")
        if precision not in NUMERICS:
            raise ValueError(unknown("precision", precision, NUMERICS))
        self.shape = shape
        self.precision = precision
        self.checkpoint_blocks = False
        numerics = NUMERICS[precision]()
        dim = shape.dim

        self.patch_embedding = nn.Conv3d(shape.in_channels, dim, PATCH, stride=PATCH)
        self.text_embedding = nn.Sequential(
            nn.Linear(shape.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(shape.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(shape, numerics) for _ in range(shape.num_layers))
        self.head = Head(shape, numerics)
        self._numerics = numerics
        self._rope = RopeCache(shape.head_dim, numerics.rope_dtype)
        # Drawing a normal on the meta device imports torch's compiler: 7 s for values nobody sees.
        if not self.head.head.weight.is_meta:
            self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> "WanModel":
        """Draw the official initial weights; the zero head makes the first prediction zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1), generator=generator)
        nn.init.zeros_(self.patch_embedding.bias)  # pyright: ignore[reportArgumentType]
        for mlp in (self.text_embedding, self.time_embedding):
            for matrix in (p for p in mlp.parameters() if p.ndim == 2):
                nn.init.normal_(matrix, std=0.02, generator=generator)
        for name, parameter in self.named_parameters():
            if name.endswith("modulation"):
                nn.init.normal_(parameter, std=self.shape.dim**-0.5, generator=generator)
        nn.init.zeros_(self.head.head.weight)
        return self

    def cast(self, dtype: torch.dtype) -> "WanModel":
        """Put the large matrices into `dtype`; what the official code computes in fp32 stays."""
        for name, parameter in self.named_parameters():
            if not keeps_fp32(name):
                parameter.data = parameter.data.to(dtype)
        return self

    def forward(self, latents_BCTYX: Tensor, timesteps_B: Tensor, context_BSE: Tensor) -> Tensor:
        """Velocity of noisy latents.

        Args:
            latents_BCTYX: normalised latents; rows and columns even.
            timesteps_B: 0 (clean) to 1000 (noise) per item; a single value serves the whole batch.
            context_BSE: text embeddings, zero rows after the last token.

        Returns:
            (B, C, T, Y, X) fp32.

        Raises:
            ValueError: a shape does not fit the model.
        """
        if timesteps_B.stride() == (0,):  # an expanded scalar: one timestep, so one modulation
            timesteps_B = timesteps_B[:1]
        grid = self._check(latents_BCTYX, timesteps_B, context_BSE)
        x_BLD = self._numerics.residual(self._embed_patches(latents_BCTYX))
        e_B1D, e6_B16D = self._embed_time(timesteps_B)
        context_BSD = run_in_weight_dtype(self.text_embedding, context_BSE)
        rope = self._rope.get(grid, x_BLD.device)
        for block in self.blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                x_BLD = checkpoint(block, x_BLD, e6_B16D, context_BSD, rope, use_reentrant=False)
            else:
                x_BLD = block(x_BLD, e6_B16D, context_BSD, rope)
        return self._unpatchify(self.head(x_BLD, e_B1D), grid)

    def _check(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> tuple[int, int, int]:
        """Token grid (frames, rows, columns) of well-formed inputs."""
        if latents.ndim != 5 or latents.shape[1] != self.shape.in_channels:
            raise ValueError(
                f"latents: got {tuple(latents.shape)}; need (B, {self.shape.in_channels}, T, Y, X)"
            )
        batch, _, frames, rows, columns = latents.shape
        if rows % PATCH[1] or columns % PATCH[2]:
            raise ValueError(f"latents: got {rows}x{columns}; rows and columns must be even")
        if timesteps.ndim != 1 or len(timesteps) not in (1, batch):
            raise ValueError(f"timesteps: got {tuple(timesteps.shape)}; need ({batch},) or (1,)")
        if context.ndim != 3 or (context.shape[0], context.shape[2]) != (
            batch,
            self.shape.text_dim,
        ):
            raise ValueError(
                f"context: got {tuple(context.shape)}; need ({batch}, S, {self.shape.text_dim})"
            )
        return frames // PATCH[0], rows // PATCH[1], columns // PATCH[2]

    def _embed_patches(self, latents_BCTYX: Tensor) -> Tensor:
        """The strided convolution as one matrix product over flattened patches."""
        _, dy, dx = PATCH
        patches = latents_BCTYX.unflatten(4, (-1, dx)).unflatten(3, (-1, dy))  # B C T h dy w dx
        patches_BLP = patches.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)
        conv = self.patch_embedding
        return F.linear(patches_BLP.to(conv.weight.dtype), conv.weight.flatten(1), conv.bias)

    def _embed_time(self, timesteps_B: Tensor) -> tuple[Tensor, Tensor]:
        """Time embedding (B, 1, D) for the head and its projection (B, 1, 6, D) for the blocks."""
        waves = sinusoid(timesteps_B, self.shape.freq_dim)
        with torch.autocast(waves.device.type, enabled=False):
            e_BD = run_in_weight_dtype(self.time_embedding, waves)
            e6_B6D = self.time_projection(e_BD).float().unflatten(1, (6, -1))
        return e_BD.float()[:, None], e6_B6D[:, None]

    def _unpatchify(self, x_BLP: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Tokens back to latents; inside a token the channel runs fastest."""
        _, dy, dx = PATCH
        x = x_BLP.unflatten(2, (dy, dx, -1)).unflatten(1, grid)  # B T h w dy dx C
        return x.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


class Block(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        dim = shape.dim
        self.self_attn = Attention(shape, numerics)
        self.norm3 = nn.LayerNorm(dim, eps=shape.eps)
        self.cross_attn = Attention(shape, numerics)
        self.ffn = nn.Sequential(
            nn.Linear(dim, shape.ffn_dim),
            nn.GELU(approximate="tanh"),
            nn.Linear(shape.ffn_dim, dim),
        )
        self.modulation = nn.Parameter(torch.empty(1, 6, dim))
        self.eps = shape.eps
        self._numerics = numerics

    def forward(
        self, x_BLD: Tensor, e6_B16D: Tensor, context_BSD: Tensor, rope: RopeTable
    ) -> Tensor:
        """One block of the residual stream."""
        ops = self._numerics
        modulation = (self.modulation.float() + e6_B16D).unbind(2)
        shift_attn, scale_attn, gate_attn, shift_ffn, scale_ffn, gate_ffn = modulation

        u_BLD = ops.modulated_norm(x_BLD, shift_attn, scale_attn, self.eps)
        x_BLD = ops.gated_add(x_BLD, self.self_attn(u_BLD, rope=rope), gate_attn)

        u_BLD = ops.norm(x_BLD, self.norm3.weight, self.norm3.bias, self.eps)
        x_BLD = ops.gated_add(x_BLD, self.cross_attn(u_BLD, context_BSD), None)

        u_BLD = ops.modulated_norm(x_BLD, shift_ffn, scale_ffn, self.eps)
        return ops.gated_add(x_BLD, self._feed_forward(u_BLD), gate_ffn)

    def _feed_forward(self, x_BLD: Tensor) -> Tensor:
        hidden = run_in_weight_dtype(self.ffn[0], x_BLD)
        return self.ffn[2](self._numerics.gelu(hidden))


class Attention(nn.Module):
    """Attention with RMS-normed queries and keys; to itself, or to a context if one is given."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        dim = shape.dim
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim, eps=shape.eps)
        self.norm_k = nn.RMSNorm(dim, eps=shape.eps)
        self.num_heads = shape.num_heads
        self.eps = shape.eps
        self._numerics = numerics

    def forward(
        self, x_BLD: Tensor, context_BSD: Tensor | None = None, rope: RopeTable | None = None
    ) -> Tensor:
        """(B, L, D) in the dtype of the products."""
        x_BLD = x_BLD.to(self.q.weight.dtype)
        source = x_BLD if context_BSD is None else context_BSD
        q_BLD = self._numerics.rms_norm(self.q(x_BLD), self.norm_q.weight, self.eps)
        k_BSD = self._numerics.rms_norm(self.k(source), self.norm_k.weight, self.eps)
        q, k, v = (y.unflatten(2, (self.num_heads, -1)) for y in (q_BLD, k_BSD, self.v(source)))
        if rope is not None:
            q, k = self._numerics.rotate(q, rope), self._numerics.rotate(k, rope)
        return self.o(attention(q, k, v).flatten(2))


class Head(nn.Module):
    """Modulated norm and projection to patches, fp32 whatever the rest runs in."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        self.head = nn.Linear(shape.dim, shape.out_channels * math.prod(PATCH))
        self.modulation = nn.Parameter(torch.empty(1, 2, shape.dim))
        self.eps = shape.eps
        self._numerics = numerics

    def forward(self, x_BLD: Tensor, e_B1D: Tensor) -> Tensor:
        """(B, L, patch values * channels) fp32."""
        shift, scale = (self.modulation.float() + e_B1D[:, :, None]).unbind(2)
        u_BLD = self._numerics.modulated_norm(x_BLD, shift, scale, self.eps)
        with torch.autocast(x_BLD.device.type, enabled=False):
            return run_in_weight_dtype(self.head, u_BLD).float()


def run_in_weight_dtype(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a linear layer or an MLP to a tensor of another dtype; autocast still has its say."""
    return layer(x.to(next(layer.parameters()).dtype))


def sinusoid(timesteps_B: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of t * 10000^(-j / (width/2)): (B, width) fp32.

    The angles are fp64: in fp32 they are off by up to 3e-5 at t = 999.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float64, device=timesteps_B.device) / half
    angles = torch.outer(timesteps_B.double(), 10_000.0**-exponents)
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()
