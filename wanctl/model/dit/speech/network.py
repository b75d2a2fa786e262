"""S2V's transformer: a person speaks or sings as a sound says, clip after clip.

Beside the noisy video the sequence holds a picture of the person and, packed into few tokens, the
frames before the clip; both are clean and have timestep 0. After some blocks the video's tokens
read the sound of their latent frame. Latents of a pose video are added to the video's tokens.

Parameter names are the published ones.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S layers of the audio
encoder, E width of text or of a layer, F frames, J tokens of a frame's sound, L tokens in G groups
of M, D width.
"""

import math

import torch
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.blocks import Attention
from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.rope import RopeTable, positions_table
from wanctl.model.dit.speech.injector import AudioInjector
from wanctl.model.dit.speech.packer import LARGEST_PATCH, FramePacker, packed_positions
from wanctl.model.dit.speech.sound import START_WEIGHT, AudioEncoder
from wanctl.model.dit.transformer import WanModel, embed_patches
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

PICTURE_POSITION = 30  # rotary position of the person's picture in time
NOISY, PICTURE, BEFORE = range(3)  # rows of `trainable_cond_mask`

Place = tuple[int, int, int, bool, torch.device]
"""Token grid, whether there are frames before it, and the device."""


class SpeechModel(WanModel):
    """Predicts the velocity of a speaker's video; see `WanModel`."""

    def __init__(self, shape: DiTShape, precision: str = "fast") -> None:
        super().__init__(shape, precision)
        assert shape.speech is not None
        dim, channels = shape.dim, shape.out_channels
        self.cond_encoder = nn.Conv3d(channels, dim, PATCH, stride=PATCH)
        self.trainable_cond_mask = nn.Embedding(3, dim)
        self.casual_audio_encoder = AudioEncoder(shape.speech, dim)
        self.audio_injector = AudioInjector(shape, self._numerics)
        self.frame_packer = FramePacker(channels, dim)
        self._table: tuple[Place, RopeTable] | None = None
        if not self.head.head.weight.is_meta:
            self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> "SpeechModel":
        """Draw the initial weights, with which neither sound nor poses change anything."""
        super().init_weights(generator)
        if hasattr(self, "audio_injector"):  # not when the base class calls it
            nn.init.constant_(self.casual_audio_encoder.weights, START_WEIGHT)
            zeros: list[nn.Module] = [self.trainable_cond_mask, self.cond_encoder]
            for reads in self.audio_injector.injector:
                assert isinstance(reads, Attention)
                zeros.append(reads.o)
            zeros.extend(self.audio_injector.injector_adain_layers)
            for module in zeros:
                for parameter in module.parameters():
                    nn.init.zeros_(parameter)
        return self

    def attend_with(self, kernel: Kernel) -> "SpeechModel":
        """See `WanModel.attend_with`; attention to the few tokens of a frame's sound stays."""
        super().attend_with(kernel)
        for reads in self.audio_injector.injector:
            assert isinstance(reads, Attention)
            reads.kernel = attention
        return self

    @torch.no_grad()
    def read_speech(self, states_BSEF: Tensor) -> Tensor:
        """Tokens of the sound, (B, T, J, D) fp32, which no timestep changes.

        Args:
            states_BSEF: hidden states of the audio encoder in each of the clip's 4T frames.
        """
        return self.casual_audio_encoder(states_BSEF).float()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        speech_BTJD: Tensor,
        before_BCTYX: Tensor | None = None,
        pose_BCTYX: Tensor | None = None,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T + 1, Y, X) fp32; 0 for the person's picture.

        Args:
            latents_BCTYX: noisy latents of the clip, then those of the person's picture.
            timesteps: (B, T + 1) or (1, T + 1), 0 to 1000: one for the clip, and the picture's.
            context_BSE: see `WanModel.forward`.
            speech_BTJD: what `read_speech` returned, of T latent frames.
            before_BCTYX: latents of the frames before the clip; None: it is the first.
            pose_BCTYX: latents of the pose video, of T latent frames; None: no poses.

        Raises:
            ValueError: a shape does not fit the model.
        """
        frames, rows, columns = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE)
        self._check(latents_BCTYX, timesteps, speech_BTJD, before_BCTYX, pose_BCTYX)
        clip, picture = latents_BCTYX.split((frames - 1, 1), dim=2)
        marks_3D = self.trainable_cond_mask.weight
        x_BLD = embed_patches(clip, self.patch_embedding)
        if pose_BCTYX is not None:
            x_BLD = x_BLD + embed_patches(pose_BCTYX, self.cond_encoder)
        else:  # of latents that are zero
            assert self.cond_encoder.bias is not None
            x_BLD = x_BLD + self.cond_encoder.bias
        tokens = x_BLD.shape[1]
        parts = [x_BLD + marks_3D[NOISY]]
        parts.append(embed_patches(picture, self.patch_embedding) + marks_3D[PICTURE])
        if before_BCTYX is not None:
            parts.append(self.frame_packer(before_BCTYX) + marks_3D[BEFORE])
        x_BLD = torch.cat(parts, dim=1)
        # tokens of one timestep are in as few groups as both numbers allow
        per_group = math.gcd(tokens, x_BLD.shape[1] - tokens)
        groups = [tokens // per_group, (x_BLD.shape[1] - tokens) // per_group]
        repeats = torch.tensor(groups, device=x_BLD.device)
        e_BGD, e6_BG6D = self._embed_time(timesteps[:, [0, -1]])
        e6_BG6D = e6_BG6D.repeat_interleave(repeats, dim=1)
        x_BGMD = self._stream(x_BLD, sum(groups))
        contexts, _ = self._contexts(context_BSE, None)
        rope = self._rope_of((frames - 1, rows, columns, before_BCTYX is not None, x_BLD.device))
        assert self.shape.speech is not None
        for number, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            x_BGMD = block(x_BGMD, e6_BG6D, context, rope)
            if number in self.shape.speech.blocks:
                video_BLD, rest = x_BGMD.flatten(1, 2).tensor_split((tokens,), dim=1)
                reads = self.shape.speech.blocks.index(number)
                video_BLD = video_BLD + self.audio_injector(reads, video_BLD, speech_BTJD)
                x_BGMD = torch.cat((video_BLD, rest), dim=1).view_as(x_BGMD)
        x_BGMD = x_BGMD[:, : groups[0]].flatten(1, 2)[:, None]
        v = self._unpatchify(self.head(x_BGMD, e_BGD[:, :1]), (frames - 1, rows, columns))
        return torch.cat((v, v.new_zeros(*v.shape[:2], 1, *v.shape[3:])), dim=2)

    def _check(
        self,
        latents: Tensor,
        timesteps: Tensor,
        speech: Tensor,
        before: Tensor | None,
        pose: Tensor | None,
    ) -> None:
        batch, channels, frames, rows, columns = latents.shape
        if timesteps.ndim == 1 or frames == 1:
            raise ValueError("timesteps: need one for each latent frame of the clip and a picture")
        if rows % LARGEST_PATCH or columns % LARGEST_PATCH:
            raise ValueError(
                f"latents: got {rows}x{columns}; rows and columns must be multiples of "
                f"{LARGEST_PATCH}"
            )
        if speech.shape[:2] != (batch, frames - 1):
            raise ValueError(f"speech: got {tuple(speech.shape[:2])}; need {(batch, frames - 1)}")
        if pose is not None and pose.shape != (batch, channels, frames - 1, rows, columns):
            raise ValueError(f"pose: got {tuple(pose.shape)}; need {frames - 1} latent frames")
        if before is not None and before.shape[:2] + before.shape[3:] != (
            batch, channels, rows, columns,
        ):  # fmt: skip
            raise ValueError(f"before: got {tuple(before.shape)}; need latents like the clip's")

    def _rope_of(self, place: Place) -> RopeTable:
        """Rotary tables of all tokens; that of the last call is kept."""
        if self._table is not None and self._table[0] == place:
            return self._table[1]
        frames, rows, columns, has_before, device = place
        grid = [range(rows), range(columns)]
        axes = [[range(frames), *grid], [[PICTURE_POSITION], *grid]]
        if has_before:
            axes.extend(packed_positions(rows * PATCH[1], columns * PATCH[2]))
        dtype, head = self._numerics.rope_dtype, self.shape.head_dim
        tables = [positions_table(each, head, dtype, device) for each in axes]
        table = RopeTable(*(torch.cat(both) for both in zip(*tables, strict=True)))
        self._table = place, table
        return table
