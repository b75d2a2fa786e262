"""The Wan diffusion transformer.

Latents are cut into patches of 1x2x2, pass through blocks of self-attention, cross-attention to
the text and a feed-forward layer, and come out as a velocity of the same shape. Timesteps enter as
shifts, scales and gates. Conditions other than text enter in three ways: as more input channels,
as image tokens in the cross-attention, and (VACE) as hints from a second stack of blocks.
Parameter names are the published ones, so official files load by name.

Shapes: B batch, C channels, T frames, Y/X latent rows/columns, L tokens in G groups of M that
share a timestep, S text tokens, E text width, I image tokens, D width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import unknown
from wanctl.model.dit.attention import Kernel
from wanctl.model.dit.blocks import Attention, Block, Head, ImageEmbedding, run_in_weight_dtype
from wanctl.model.dit.context import (
    Context,
    KeysValues,
    Padding,
    PrecomputedContext,
    fold_padding,
)
from wanctl.model.dit.context_parallel import ContextParallel
from wanctl.model.dit.precision import NUMERICS
from wanctl.model.dit.rope import RopeCache
from wanctl.model.dit.vace import RunBlock, VaceBlock, call, hints
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

# Parameters that keep fp32 when the model runs in bf16: everything that is not a large product.
FP32_PARTS = ("time_embedding", "time_projection", "modulation", "norm", "head", "emb_pos")
FP32_LAYERS = ("img_emb.proj.0.", "img_emb.proj.4.")  # norms without the word in their name


def keeps_fp32(name: str) -> bool:
    """Whether the parameter of this name stays fp32 in a half-precision model."""
    return name.startswith(FP32_LAYERS) or any(
        part.startswith(FP32_PARTS) for part in name.split(".")
    )


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
        self.blocks = nn.ModuleList(Block(shape, numerics) for _ in range(shape.num_layers))
        self.head = Head(shape, numerics)
        self.img_emb = ImageEmbedding(shape) if shape.image_dim else None
        if shape.vace_layers:
            self.vace_patch_embedding = nn.Conv3d(shape.vace_channels, dim, PATCH, stride=PATCH)
            self.vace_blocks = nn.ModuleList(
                VaceBlock(shape, numerics, first=i == 0) for i in range(len(shape.vace_layers))
            )
        self._numerics = numerics
        self._rope = RopeCache(shape.head_dim, numerics.rope_dtype)
        # On the meta device, drawing a normal imports torch's compiler: 7 s for unused values.
        if not self.head.head.weight.is_meta:
            self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> "WanModel":
        """Draw the official initial weights; the head is zero, so the first prediction is zero."""
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
        for block in (*getattr(self, "vace_blocks", ()), *self.blocks):
            assert isinstance(block, Block)
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

        Returns:
            (B, C, T, Y, X) fp32, C being `shape.out_channels`.

        Raises:
            ValueError: a shape does not fit the model.
        """
        grid = self._check(latents_BCTYX, timesteps, context_BSE, image_BIE, control_BCTYX)
        e_BGD, e6_BG6D = self._embed_time(timesteps)
        groups = e_BGD.shape[1]
        x_BGMD = self._tokens(latents_BCTYX, self.patch_embedding, groups)
        contexts, control_contexts = self._contexts(context_BSE, image_BIE)
        rope = self._rope.get(grid, x_BGMD.device)
        if self.context_parallel is not None:
            rope = self.context_parallel.shard_rope(rope, groups)
        run = self.run_block if self.run_block and self.training else call
        control: dict[int, Tensor] = {}
        if control_BCTYX is not None:
            # The first control block reads x before the main blocks change it.
            c_BGMD = self._tokens(control_BCTYX, self.vace_patch_embedding, groups)
            computed = hints(self.vace_blocks, c_BGMD, x_BGMD, e6_BG6D, control_contexts, rope, run)
            control = dict(zip(self.shape.vace_layers, computed, strict=True))
        for number, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            x_BGMD = run(block, x_BGMD, e6_BG6D, context, rope)
            if number in control:
                x_BGMD = x_BGMD + control_scale * control[number]
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
        self._check_context(context_BSE, len(context_BSE))
        self._check_image(image_BIE, len(context_BSE))
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

    def _check(
        self,
        latents: Tensor,
        timesteps: Tensor,
        context: Tensor | PrecomputedContext,
        image: Tensor | None,
        control: Tensor | None,
    ) -> tuple[int, int, int]:
        """Token grid (frames, rows, columns) of well-formed inputs."""
        shape = self.shape
        if latents.ndim != 5 or latents.shape[1] != shape.in_channels:
            raise ValueError(
                f"latents: got {tuple(latents.shape)}; need (B, {shape.in_channels}, T, Y, X)"
            )
        batch, _, frames, rows, columns = latents.shape
        if rows % PATCH[1] or columns % PATCH[2]:
            raise ValueError(f"latents: got {rows}x{columns}; rows and columns must be even")
        if timesteps.shape not in ((1,), (batch,), (batch, frames), (1, frames)):
            raise ValueError(
                f"timesteps: got {tuple(timesteps.shape)}; need ({batch},), (1,) or "
                f"({batch}, {frames})"
            )
        self._check_context(context, batch)
        if not isinstance(context, PrecomputedContext):
            self._check_image(image, batch)
        self._check_control(control, latents)
        return frames // PATCH[0], rows // PATCH[1], columns // PATCH[2]

    def _check_context(self, context: Tensor | PrecomputedContext, batch: int) -> None:
        if isinstance(context, PrecomputedContext):
            if (len(context), len(context.blocks)) != (batch, len(self.blocks)):
                raise ValueError(
                    f"context: got {len(context)} prompts for {len(context.blocks)} blocks; "
                    f"need {batch} for {len(self.blocks)}"
                )
        elif context.ndim != 3 or context.shape[::2] != (batch, self.shape.text_dim):
            raise ValueError(
                f"context: got {tuple(context.shape)}; need ({batch}, S, {self.shape.text_dim})"
            )

    def _check_image(self, image: Tensor | None, batch: int) -> None:
        shape = self.shape
        if (image is None) != (shape.image_dim is None):
            has = "takes no image tokens" if shape.image_dim is None else "needs image tokens"
            raise ValueError(f"image: this model {has}")
        if image is not None and (image.ndim != 3 or image.shape[::2] != (batch, shape.image_dim)):
            raise ValueError(
                f"image: got {tuple(image.shape)}; need ({batch}, I, {shape.image_dim})"
            )

    def _check_control(self, control: Tensor | None, latents: Tensor) -> None:
        shape = self.shape
        if (control is None) != (not shape.vace_layers):
            has = "needs a control" if shape.vace_layers else "takes no control"
            raise ValueError(f"control: this model {has}")
        expected = (len(latents), shape.vace_channels, *latents.shape[2:])
        if control is not None and control.shape != expected:
            raise ValueError(f"control: got {tuple(control.shape)}; need {expected}")

    def _tokens(self, latents_BCTYX: Tensor, conv: nn.Conv3d, groups: int) -> Tensor:
        """The start of the residual stream, (B, G, M, D); or this process's shard of it."""
        x_BGMD = embed_patches(latents_BCTYX, conv).unflatten(1, (groups, -1))
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
    assert isinstance(block, Block)
    return block.cross_attn


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
