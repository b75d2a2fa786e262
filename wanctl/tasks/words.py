"""Text to video and text to image."""

from collections.abc import Sequence

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.variants import VAEShape
from wanctl.tasks.api import noise_shape, pad_texts


class T2V:
    """Text to video."""

    name = "t2v"

    def default_frames(self, variant_frames: int) -> int:
        """What the variant is run with."""
        return variant_frames

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int
    ) -> tuple[int, int, int, int]:
        """(C, T, Y, X) of the noise: 4n+1 frames, sides a multiple of 16 (Wan 2.2 5B: 32)."""
        return noise_shape(vae, frames, height, width)

    def conditions(self, texts: Sequence[Tensor], text_len: int) -> Conditions:
        """The text alone."""
        return Conditions(pad_texts(texts, text_len))


class T2I:
    """Text to image: a video of one frame."""

    name = "t2i"

    def default_frames(self, variant_frames: int) -> int:  # noqa: ARG002
        """One."""
        return 1

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int
    ) -> tuple[int, int, int, int]:
        """(C, 1, Y, X) of the noise: one frame, sides as for videos."""
        if frames != 1:
            raise UserError(f"frames: got {frames}; task t2i makes 1 (t2v makes videos)")
        return noise_shape(vae, frames, height, width)

    def conditions(self, texts: Sequence[Tensor], text_len: int) -> Conditions:
        """The text alone."""
        return Conditions(pad_texts(texts, text_len))
