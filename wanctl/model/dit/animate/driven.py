"""The transformer of Animate 2: each token attends to those of a driving video as well.

The driving video passes through the same blocks once, as a nearly clean video (timestep 1) with a
prompt of its own, and every block's keys and values are kept. While the output is denoised, the
tokens of its latent frame i attend to all tokens of the output and to those of driving frame i - 1;
frame 0 is a picture of the character and has none. Rotary positions put the driving video one frame
later and to the right of the output. They do not change between the two passes, so that rotated
keys are kept, which equals rotating kept ones at every step.

The keys and values of a whole clip are large: 2 * blocks * tokens * width numbers, 27 GB in bf16
for the 14B model and 81 frames of 480x832. Where blocks are streamed they stay in host memory, and
each latent frame's are copied when it is computed.

Parameter names are the published ones, which nest each block: `blocks.N.block`.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, L tokens, M tokens of a
latent frame, N heads, K head width, S text tokens, E width of text or image tokens, I image tokens.
"""

from collections.abc import Container, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.blocks import Block
from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.transformer import WanModel, embed_patches
from wanctl.model.variants import DiTShape

DRIVING_TIMESTEP = 1.0
FIRST_FRAME = 1  # of the output; latent frame 0 is the character


class DrivingKeys(NamedTuple):
    """Rotated keys and values of a driving video in one block, (B, T, M, N, K) each."""

    k: Tensor
    v: Tensor


class StoreKeys(NamedTuple):
    """Self-attention of the driving video, which keeps its keys and values."""

    keys: DrivingKeys

    def __call__(self, kernel: Kernel, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, L, N, K), see `AttendWith`."""
        places = self.keys.k.shape[1:3]
        self.keys.k.copy_(k.unflatten(1, places), non_blocking=True)
        self.keys.v.copy_(v.unflatten(1, places), non_blocking=True)
        return kernel(q, k, v)


class DrivenAttention(NamedTuple):
    """Self-attention of the output, whose frames see one driving frame each; has no gradients.

    Attributes:
        keys: of the driving video, on the device or in host memory.
        bias: added to the scores of the keys of the output's first frame.
    """

    keys: DrivingKeys
    bias: float

    def __call__(self, kernel: Kernel, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, L, N, K), see `AttendWith`."""
        frames, tokens = self.keys.k.shape[1:3]
        own = k.shape[1]
        # the output's keys, then room for those of one driving frame after another
        seen = [v.new_empty(len(v), own + tokens, *v.shape[2:]) for _ in self.keys]
        outputs = torch.empty_like(v)
        for whole, each in zip(seen, (k, v), strict=True):
            whole[:, :own] = each
        scores = None
        if self.bias:
            scores = v.new_zeros(1, 1, 1, own + tokens)
            scores[..., FIRST_FRAME * tokens : (FIRST_FRAME + 1) * tokens] = self.bias
        for frame in range(frames + 1):
            if frame:
                for whole, each in zip(seen, self.keys, strict=True):
                    whole[:, own:].copy_(each[:, frame - 1], non_blocking=True)
            count = own + tokens if frame else own
            place = slice(frame * tokens, (frame + 1) * tokens)
            k_BSNK, v_BSNK = (whole[:, :count] for whole in seen)
            if scores is None:
                outputs[:, place] = kernel(q[:, place], k_BSNK, v_BSNK)
            else:  # few kernels take a bias
                outputs[:, place] = attention(q[:, place], k_BSNK, v_BSNK, scores[..., :count])
        return outputs


class DrivenBlock(nn.Module):
    """A transformer block below the name that published files give it."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        self.block = Block(shape, numerics)

    def forward(self, *inputs: object) -> Tensor:
        """See `Block.forward`."""
        return self.block(*inputs)


class DrivenModel(WanModel):
    """Predicts the velocity of a character's video from that of a driving video; see WanModel."""

    def make_block(self, numerics: Numerics) -> nn.Module:
        """One of `blocks`, without weights."""
        return DrivenBlock(self.shape, numerics)

    @torch.no_grad()
    def read_driving(
        self, latents_BCTYX: Tensor, context_BSE: Tensor, image_BIE: Tensor
    ) -> list[DrivingKeys]:
        """Keys and values of a driving video in every block.

        Args:
            latents_BCTYX: its latents, then mask and latents as its condition.
            context_BSE: text embeddings of what it shows.
            image_BIE: CLIP's hidden states of its first frame.
        """
        timesteps = latents_BCTYX.new_full((1,), DRIVING_TIMESTEP)
        frames, rows, columns = grid = check_inputs(
            self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE
        )
        x_BGMD = self._stream(embed_patches(latents_BCTYX, self.patch_embedding), 1)
        _, e6_BG6D = self._embed_time(timesteps)
        contexts, _ = self._contexts(context_BSE, image_BIE)
        rope = self._rope.get(grid, x_BGMD.device, (1, 0, columns))
        shape = (len(x_BGMD), frames, rows * columns, self.shape.num_heads, self.shape.head_dim)
        dtype = self.patch_embedding.weight.dtype
        kept = []
        for block, context in zip(self.blocks, contexts, strict=True):
            keys = DrivingKeys(*(self._memory(shape, dtype, x_BGMD.device) for _ in range(2)))
            x_BGMD = block(x_BGMD, e6_BG6D, context, rope, StoreKeys(keys))
            kept.append(keys)
        return kept

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        image_BIE: Tensor | None = None,
        driving: Sequence[DrivingKeys],
        skipped: Container[int] = (),
        first_frame_log_scale: float = 0.0,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T + 1, Y, X) fp32.

        Args:
            latents_BCTYX: as `WanModel.forward` takes them; frame 0 is the character's.
            timesteps: (B,) or (1,), 0 to 1000.
            context_BSE: see `WanModel.forward`.
            image_BIE: CLIP's hidden states of the character.
            driving: what `read_driving` returned for a video of T latent frames.
            skipped: numbers of blocks that are left out.
            first_frame_log_scale: added to the attention's scores of the output's first frame.

        Raises:
            ValueError: a shape does not fit the model or the driving video.
        """
        frames, rows, columns = grid = check_inputs(
            self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE
        )
        places = driving[0].k.shape[:3]
        if places != (len(latents_BCTYX), frames - 1, rows * columns):
            raise ValueError(
                f"driving: got keys of {places[1]} latent frames with {places[2]} tokens; need "
                f"{frames - 1} with {rows * columns}"
            )
        e_BGD, e6_BG6D = self._embed_time(timesteps)
        x_BGMD = self._stream(embed_patches(latents_BCTYX, self.patch_embedding), e_BGD.shape[1])
        contexts, _ = self._contexts(context_BSE, image_BIE)
        rope = self._rope.get(grid, x_BGMD.device)
        for number, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            if number not in skipped:
                attend = DrivenAttention(driving[number], first_frame_log_scale)
                x_BGMD = block(x_BGMD, e6_BG6D, context, rope, attend)
        return self._unpatchify(self.head(x_BGMD, e_BGD), grid)

    def _memory(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Memory for keys or values: on the device, in pinned host memory with streamed blocks."""
        if self.streamed and device.type == "cuda":
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        return torch.empty(shape, dtype=dtype, device=device)
