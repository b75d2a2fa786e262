"""The Wan diffusion transformer.

Latents are cut into patches of 1x2x2, pass through blocks of self-attention, cross-attention to
the text and a feed-forward layer, and come out as a velocity of the same shape. Timesteps enter as
shifts, scales and gates. Conditions other than text enter as more input channels, as image tokens
in the cross-attention, as hints from a second stack of blocks (VACE), and in the Fun family as
vectors that are added to the tokens (a camera path) and as tokens before them (a reference).
Parameter names are the published ones, so official files load by name.

Shapes: B batch, C channels, T frames, Y/X latent rows/columns, L tokens in G groups of M that
share a timestep, S text tokens, E text width, I image tokens, D width.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import unknown
from wanctl.model.dit.attention import Kernel
from wanctl.model.dit.blocks import Attention, Block, Head, ImageEmbedding, run_in_weight_dtype
from wanctl.model.dit.checks import (
    check_conditions,
    check_context,
    check_image,
    check_inputs,
)
from wanctl.model.dit.context import (
    Context,
    KeysValues,
    Padding,
    PrecomputedContext,
    fold_padding,
)
from wanctl.model.dit.context_parallel import ContextParallel
from wanctl.model.dit.fun import CameraAdapter, reference_tokens
from wanctl.model.dit.precision import NUMERICS, Numerics, keeps_fp32
from wanctl.model.dit.rope import RopeCache
from wanctl.model.dit.vace import RunBlock, VaceBlock, call, hints
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape


class WanModel(nn.Module):
    """Predicts the velocity (noise - video) of noisy latents.

    In training mode (`train()`) it keeps what gradients need; in evaluation mode (`eval()`) it
    overwrites activations to save memory and time, and has no gradients.

    Args:
        shape: sizes; every even head width works.
        precision: `reference` rounds where the official code does, `fast` takes fewer passes.

    Attributes:
        run_block: in training mode, calls each block in its place, e.g. to recompute it in the
            backward pass; set by `wanctl.train.memory`.
        context_parallel: shards the tokens between processes; set by `wanctl.distributed`.
        streamed: whether blocks are in host memory; `wanctl.runtime.streaming` sets it.
        can_precompute_cross_attention: whether `precompute_cross_attention` may be used; not
            where weights are streamed or sharded, because it would load those of all blocks.

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
        self.run_block: RunBlock | None = None
        self.context_parallel: ContextParallel | None = None
        self.can_precompute_cross_attention = True
        self.streamed = False
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
        self.blocks = nn.ModuleList(self.make_block(numerics) for _ in range(shape.num_layers))
        self.head = Head(shape, numerics)
        self.img_emb = ImageEmbedding(shape) if shape.image_dim else None
        if shape.vace_layers:
            self.vace_patch_embedding = nn.Conv3d(shape.vace_channels, dim, PATCH, stride=PATCH)
            self.vace_blocks = nn.ModuleList(
                VaceBlock(shape, numerics, first=i == 0) for i in range(len(shape.vace_layers))
            )
        if shape.camera_channels:
            self.control_adapter = CameraAdapter(shape.camera_channels, shape.ray_stride, dim)
        if shape.reference_channels:
            self.ref_conv = nn.Conv2d(shape.reference_channels, dim, PATCH[1:], stride=PATCH[1:])
        self._numerics = numerics
        self._rope = RopeCache(shape.head_dim, numerics.rope_dtype)
        # On the meta device, drawing a normal imports torch's compiler: 7 s for unused values.
        if not self.head.head.weight.is_meta:
            self.init_weights()

    def make_block(self, numerics: Numerics) -> nn.Module:
        """One of `blocks`, without weights."""
        return Block(self.shape, numerics)

    def init_weights(self, generator: torch.Generator | None = None) -> "WanModel":
        """Draw the official initial weights; the head is zero, so the first prediction is zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
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
        """Cast the large matrices to `dtype`; what the official code computes in fp32 stays."""
        for name, parameter in self.named_parameters():
            if not keeps_fp32(name):
                parameter.data = parameter.data.to(dtype)
        return self

    def attend_with(self, kernel: Kernel) -> "WanModel":
        """Set the kernel of every attention; call it before processes shard the tokens."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.kernel = kernel
        return self

    def compile_blocks(self) -> "WanModel":
        """Compile the blocks: one graph for all, half a minute at the first step of each size.

        This fuses the norms, gates and rotations between the products: 1.3-1.4x as fast on Hopper.
        """
        for block in self.modules():
            if isinstance(block, Block):
                block.compile_forward()
        return self

    def forward(
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        image_BIE: Tensor | None = None,
        control_BCTYX: Tensor | None = None,
        control_scale: float = 1.0,
        rays_BCTHW: Tensor | None = None,
        reference_BCYX: Tensor | None = None,
    ) -> Tensor:
        """Velocity of noisy latents.

        Args:
            latents_BCTYX: normalised latents, followed by the channels of the condition where the
                model has such channels; rows and columns are even.
            timesteps: 0 (clean) to 1000 (noise): (B,) per item, or (B, T) per latent frame. (1,)
                or (1, T) for the whole batch, which computes one modulation instead of B.
            context_BSE: text embeddings, zero rows after the last token; or the result of
                `precompute_cross_attention` for them and the image tokens.
            image_BIE: CLIP's hidden states, for models with image tokens.
            control_BCTYX: VACE's context, for models with control blocks.
            control_scale: strength of the control.
            rays_BCTHW: rays of a camera path at the size of the pixels, for models with an adapter
                for one.
            reference_BCYX: latents of a reference picture, for models with tokens of one.

        Returns:
            (B, C, T, Y, X) fp32, C being `shape.out_channels`.

        Raises:
            ValueError: a shape does not fit the model.
        """
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE)
        check_conditions(self.shape, latents_BCTYX, control_BCTYX, rays_BCTHW, reference_BCYX)
        if reference_BCYX is not None and timesteps.ndim == 2:
            timesteps = torch.cat((timesteps[:, -1:], timesteps), dim=1)  # that of the last frame
        e_BGD, e6_BG6D = self._embed_time(timesteps)
        groups = e_BGD.shape[1]
        x_BLD = embed_patches(latents_BCTYX, self.patch_embedding)
        if rays_BCTHW is not None:
            x_BLD = x_BLD + self.control_adapter(rays_BCTHW)
        frames = grid[0]
        if reference_BCYX is not None:
            x_BLD = torch.cat((reference_tokens(reference_BCYX, self.ref_conv), x_BLD), dim=1)
            grid = (frames + 1, *grid[1:])  # the reference is frame 0
        x_BGMD = self._stream(x_BLD, groups)
        contexts, control_contexts = self._contexts(context_BSE, image_BIE)
        rope = self._rope.get(grid, x_BGMD.device)
        if self.context_parallel is not None:
            rope = self.context_parallel.shard_rope(rope, groups)
        run = self.run_block if self.run_block and self.training else call
        control: dict[int, Tensor] = {}
        if control_BCTYX is not None:
            # The first control block reads x before the main blocks change it.
            c_BLD = embed_patches(control_BCTYX, self.vace_patch_embedding)
            c_BGMD = self._stream(c_BLD, groups)
            computed = hints(self.vace_blocks, c_BGMD, x_BGMD, e6_BG6D, control_contexts, rope, run)
            control = dict(zip(self.shape.vace_layers, computed, strict=True))
        for number, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            x_BGMD = run(block, x_BGMD, e6_BG6D, context, rope)
            if number in control:
                x_BGMD = x_BGMD + control_scale * control[number]
        x_BLP = self.head(x_BGMD, e_BGD)
        if self.context_parallel is not None:
            x_BLP = self.context_parallel.gather(x_BLP, groups)
        return self._unpatchify(x_BLP[:, -math.prod((frames, *grid[1:])) :], (frames, *grid[1:]))

    def run(
        self,
        latents_BCTYX: Tensor,
        grid: tuple[int, int, int],
        times: tuple[Tensor, Tensor],
        context: Tensor | PrecomputedContext,
        image_BIE: Tensor | None = None,
        beside: Iterable[tuple[Any, ...]] | None = None,
    ) -> Tensor:
        """Velocity of latents alone, for networks whose blocks take more; inputs are checked.

        Args:
            latents_BCTYX: as `forward` takes them.
            grid: frames, rows and columns of their tokens.
            times: embeddings of the timesteps.
            context: as `forward` takes it.
            image_BIE: as `forward` takes it.
            beside: what each block takes besides tokens, times, text and rotary tables.
        """
        e_BGD, e6_BG6D = times
        groups = e_BGD.shape[1]
        x_BGMD = self._stream(embed_patches(latents_BCTYX, self.patch_embedding), groups)
        contexts, _ = self._contexts(context, image_BIE)
        rope = self._rope.get(grid, x_BGMD.device)
        if self.context_parallel is not None:
            rope = self.context_parallel.shard_rope(rope, groups)
        run = self.run_block if self.run_block and self.training else call
        more = ((),) * len(self.blocks) if beside is None else beside
        for block, own_context, each in zip(self.blocks, contexts, more, strict=True):
            x_BGMD = run(block, x_BGMD, e6_BG6D, own_context, rope, *each)
        x_BLP = self.head(x_BGMD, e_BGD)
        if self.context_parallel is not None:
            x_BLP = self.context_parallel.gather(x_BLP, groups)
        return self._unpatchify(x_BLP, grid)

    def precompute_cross_attention(
        self, context_BSE: Tensor, image_BIE: Tensor | None = None
    ) -> PrecomputedContext:
        """Keys and values of every block's cross-attention, which do not depend on the timestep.

        Costs their computation in one step and saves it in all others: 5 % of a step at 2,080
        tokens, more than a third where a video has fewer tokens than the text. They take
        2 * blocks * tokens * dim numbers per prompt, tokens being those of the prompt plus one.

        Args:
            context_BSE: as `forward` takes it.
            image_BIE: as `forward` takes it.
        """
        check_context(self.shape, context_BSE, len(context_BSE))
        check_image(self.shape, image_BIE, len(context_BSE))
        context = self._embed_context(*fold_padding(context_BSE), image_BIE)
        control = getattr(self, "vace_blocks", ())
        return PrecomputedContext(
            [_cross(block).project_context(context) for block in self.blocks],
            [_cross(block).project_context(context) for block in control],
        )

    def _contexts(
        self, context: Tensor | PrecomputedContext, image: Tensor | None
    ) -> tuple[Sequence[Context | KeysValues], Sequence[Context | KeysValues]]:
        """The context of each main block and of each control block."""
        if isinstance(context, PrecomputedContext):
            return context.blocks, context.control
        padding = None
        if self.training and self._numerics.weighs_padding(context):  # 5 % of a step on the CPU
            context, padding = fold_padding(context)
        embedded = self._embed_context(context, padding, image)
        return [embedded] * len(self.blocks), [embedded] * len(self.shape.vace_layers)

    def _embed_context(
        self, context_BSE: Tensor, padding: Padding | None, image_BIE: Tensor | None
    ) -> Context:
        return Context(
            run_in_weight_dtype(self.text_embedding, context_BSE),
            None if self.img_emb is None or image_BIE is None else self.img_emb(image_BIE),
            padding,
        )

    def _stream(self, x_BLD: Tensor, groups: int) -> Tensor:
        """The start of the residual stream, (B, G, M, D); or this process's shard of it."""
        x_BGMD = x_BLD.unflatten(1, (groups, -1))
        if self.context_parallel is not None:
            x_BGMD = self.context_parallel.shard(x_BGMD)
        return self._numerics.residual(x_BGMD)

    def _embed_time(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Time embedding (B, G, D) for the head and its projection (B, G, 6, D) for the blocks."""
        groups = timesteps.shape[1] if timesteps.ndim == 2 else 1
        waves = sinusoid(timesteps.flatten(), self.shape.freq_dim)
        with torch.autocast(waves.device.type, enabled=False):
            e = run_in_weight_dtype(self.time_embedding, waves)
            e6 = self.time_projection(e).float().unflatten(1, (6, -1))
        return e.float().unflatten(0, (-1, groups)), e6.unflatten(0, (-1, groups))

    def _unpatchify(self, x_BLP: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Tokens back to latents; inside a token the channel runs fastest."""
        _, dy, dx = PATCH
        x = x_BLP.unflatten(2, (dy, dx, -1)).unflatten(1, grid)  # B T h w dy dx C
        return x.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def _cross(block: nn.Module) -> Attention:
    return next(each for each in block.modules() if isinstance(each, Block)).cross_attn


def sinusoid(timesteps_B: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of t * 10000^(-j / (width/2)): (B, width) fp32.

    The angles are fp64: in fp32 they are off by up to 3e-5 at t = 999.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float64, device=timesteps_B.device) / half
    angles = torch.outer(timesteps_B.double(), 10_000.0**-exponents)
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()


def embed_patches(latents_BCTYX: Tensor, conv: nn.Conv3d) -> Tensor:
    """The strided convolution as one matrix product over flattened patches: (B, L, D)."""
    _, dy, dx = PATCH
    patches = latents_BCTYX.unflatten(4, (-1, dx)).unflatten(3, (-1, dy))  # B C T h dy w dx
    patches_BLP = patches.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)
    return F.linear(patches_BLP.to(conv.weight.dtype), conv.weight.flatten(1), conv.bias)
