"""Animate's transformer: a character with the poses and the face of a performer.

Latents of the pose video are added to the tokens; tokens of the face are read in every fifth block.
Latent frame 0 is the character's picture, which has neither.

Shapes: B batch, C channels, F frames, T latent frames, Y/X latent rows/columns, J face tokens of a
latent frame, D width, S text tokens, E width of text, I image tokens.
"""

import torch
from torch import Tensor, nn

from wanctl.model.dit.animate.face import FaceAdapter, FaceEncoder
from wanctl.model.dit.animate.motion import MotionEncoder
from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.transformer import WanModel, embed_patches
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

FACES_AT_ONCE = 8


class AnimateModel(WanModel):
    """Predicts the velocity of a character's video from poses and a face; see `WanModel`."""

    def __init__(self, shape: DiTShape, precision: str = "fast") -> None:
        super().__init__(shape, precision)
        assert shape.face is not None
        self.pose_patch_embedding = nn.Conv3d(shape.out_channels, shape.dim, PATCH, stride=PATCH)
        self.face_adapter = FaceAdapter(shape, -(-shape.num_layers // shape.face.every))
        self.face_encoder = FaceEncoder(shape.face, shape.dim)
        self.motion_encoder = MotionEncoder(shape.face)
        if not self.head.head.weight.is_meta:
            self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> "AnimateModel":
        """Draw the initial weights; those of the face networks are standard normal."""
        super().init_weights(generator)
        for name, parameter in self.named_parameters():
            if name.startswith("motion_encoder."):
                zero = name.endswith("bias")
                (nn.init.zeros_(parameter) if zero else parameter.data.normal_(generator=generator))
        return self

    @torch.no_grad()
    def read_performer(self, face_B3FYX: Tensor) -> Tensor:
        """Tokens of a face video, (B, T + 1, J, D) fp32, which no timestep changes.

        Args:
            face_B3FYX: square pictures in [-1, 1] of the face in each frame of the clip.
        """
        pictures = face_B3FYX.transpose(1, 2).flatten(0, 1)
        motion = torch.cat([self.motion_encoder(each) for each in pictures.split(FACES_AT_ONCE)])
        return self.face_encoder(motion.unflatten(0, (len(face_B3FYX), -1))).float()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        image_BIE: Tensor | None = None,
        pose_BCTYX: Tensor,
        face_BTJD: Tensor,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T + 1, Y, X) fp32.

        Args:
            latents_BCTYX: as `WanModel.forward` takes them; frame 0 is the character's.
            timesteps: (B,) or (1,), 0 to 1000.
            context_BSE: see `WanModel.forward`.
            image_BIE: CLIP's hidden states of the character.
            pose_BCTYX: latents of the pose video, of T latent frames.
            face_BTJD: what `read_performer` returned, of T + 1 latent frames.

        Raises:
            ValueError: a shape does not fit the model.
        """
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE)
        if (pose_BCTYX.shape[2] + 1, face_BTJD.shape[1]) != (grid[0], grid[0]):
            raise ValueError(
                f"pose, face: got {pose_BCTYX.shape[2]} and {face_BTJD.shape[1]} latent frames; "
                f"need {grid[0] - 1} and {grid[0]}"
            )
        assert self.shape.face is not None
        e_BGD, e6_BG6D = self._embed_time(timesteps)
        x_BLD = embed_patches(latents_BCTYX, self.patch_embedding)
        pose_BLD = embed_patches(pose_BCTYX, self.pose_patch_embedding)
        x_BLD = torch.cat(
            (x_BLD[:, : grid[1] * grid[2]], x_BLD[:, grid[1] * grid[2] :] + pose_BLD), 1
        )
        x_BGMD = self._stream(x_BLD, e_BGD.shape[1])
        contexts, _ = self._contexts(context_BSE, image_BIE)
        rope = self._rope.get(grid, x_BGMD.device)
        for number, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            x_BGMD = block(x_BGMD, e6_BG6D, context, rope)
            if number % self.shape.face.every == 0:
                reads = self.face_adapter.fuser_blocks[number // self.shape.face.every]
                x_BGMD = x_BGMD + reads(x_BGMD.flatten(1, 2), face_BTJD).view_as(x_BGMD)
        return self._unpatchify(self.head(x_BGMD, e_BGD), grid)
