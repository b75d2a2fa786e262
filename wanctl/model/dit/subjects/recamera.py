"""ReCamMaster: a video is shot again along a new camera path.

The sequence holds the new video and, after it in time, the clean one that it is made from. Every
block adds the camera's pose to the input of its self-attention, the same for a frame of the new
video and for that of the source, and has a projection behind it. At their initial values, zero and
the identity, both change nothing.

Parameter names are the published ones.

Shapes: B batch, G groups of M tokens that share a timestep, T latent frames, L tokens, D width,
P numbers of a pose, E text width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wanctl.model.dit.blocks import Block, run_in_weight_dtype
from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.rope import RopeTable
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape


class PosedBlock(Block):
    """A transformer block that reads a camera's pose."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__(shape, numerics)
        self.cam_encoder = nn.Linear(shape.pose_numbers, shape.dim)
        self.projector = nn.Linear(shape.dim, shape.dim)

    def attend_to_itself(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, u_of: Callable[[], Tensor], rope: RopeTable, recompute: bool, poses_BGMP: Tensor
    ) -> Tensor:
        """See `Block.attend_to_itself`; `poses_BGMP` is the pose of each token's frame."""

        def posed() -> Tensor:
            u_BGMD = u_of()
            return u_BGMD + run_in_weight_dtype(self.cam_encoder, poses_BGMP).to(u_BGMD.dtype)

        y_BGMD = super().attend_to_itself(posed, rope, recompute)
        return run_in_weight_dtype(self.projector, y_BGMD)


class PosedModel(WanModel):
    """A transformer of `PosedBlock`s."""

    def make_block(self, numerics: Numerics) -> nn.Module:
        """One of `blocks`, without weights."""
        return PosedBlock(self.shape, numerics)

    def init_weights(self, generator: torch.Generator | None = None) -> "PosedModel":
        """Draw the official initial weights, with which the poses change nothing."""
        super().init_weights(generator)
        for block in self.blocks:
            assert isinstance(block, PosedBlock)
            nn.init.zeros_(block.cam_encoder.weight)
            nn.init.eye_(block.projector.weight)
        return self

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        poses_BTP: Tensor,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T, Y, X) fp32; that of the source has no meaning.

        Args:
            latents_BCTYX: those of the new video, then as many of the source.
            timesteps: see `WanModel.forward`.
            context_BSE: see `WanModel.forward`.
            poses_BTP: the camera's pose in each latent frame of the new video.

        Raises:
            ValueError: a shape does not fit the model.
        """
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE)
        frames, tokens = grid[0], grid[1] * grid[2]
        expected = (len(latents_BCTYX), frames // 2, self.shape.pose_numbers)
        if poses_BTP.shape != expected or frames % 2:
            raise ValueError(
                f"poses: got {tuple(poses_BTP.shape)} for {frames} latent frames; need {expected}, "
                "for half of the frames"
            )
        times = self._embed_time(timesteps)
        poses_BLP = poses_BTP.repeat(1, 2, 1).repeat_interleave(tokens, dim=1)
        poses_BGMP = poses_BLP.unflatten(1, (times[0].shape[1], -1))
        if self.context_parallel is not None:
            poses_BGMP = self.context_parallel.shard(poses_BGMP)
        beside = [(poses_BGMP,)] * len(self.blocks)
        return self.run(latents_BCTYX, grid, times, context_BSE, beside=beside)
