"""Text to video and text to image."""

from collections.abc import Sequence

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.tasks.api import Task, pad_texts, text_only_refusal
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs


class T2V(Task):
    """Text to video: 4n+1 frames, sides a multiple of 16 (Wan 2.2 5B: 32)."""

    name = "t2v"

    def refusal(self, dit: DiTShape) -> str | None:
        """Refuse models that need an image or a control."""
        return text_only_refusal(dit)

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,  # noqa: ARG002
        size: PixelShape | None = None,  # noqa: ARG002
        encode: Encoders | None = None,  # noqa: ARG002
    ) -> Conditions:
        """The text alone."""
        return Conditions(pad_texts(texts, text_len))


class T2I(T2V):
    """Text to image: a video of one frame."""

    name = "t2i"

    def default_frames(self, variant_frames: int) -> int:  # noqa: ARG002
        """A single frame."""
        return 1

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int, inputs: Inputs = NO_INPUTS
    ) -> tuple[int, int, int, int]:
        """(C, 1, Y, X) of the noise: one frame, sides as for videos."""
        if frames != 1:
            raise UserError(f"frames: got {frames}; task t2i makes 1 (t2v makes videos)")
        return super().latent_shape(vae, frames, height, width, inputs)
