"""Text to video and text to image."""

from collections.abc import Sequence

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.tasks.api import Task, pad_texts, text_only_refusal
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs
from wanctl.tasks.sizing import padded_square

FACE_SIDE = 512  # pixels, as Stand-In was trained


class T2V(Task):
    """Text to video: 4n+1 frames, sides a multiple of 16 (Wan 2.2 5B: 32).

    A face is for models with matrices for its tokens (Stand-In).
    """

    name = "t2v"
    optional_inputs = ("face",)

    def refusal(self, dit: DiTShape) -> str | None:
        """Refuse models that need an image or a control."""
        return text_only_refusal(dit)

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,  # noqa: ARG002
        encode: Encoders | None = None,
    ) -> Conditions:
        """The text, and a face where there is one."""
        context = pad_texts(texts, text_len)
        if inputs.face is None:
            return Conditions(context)
        assert encode is not None
        face = encode.latents(padded_square(inputs.face, FACE_SIDE)[:, None])[:, 0]
        return Conditions(context, face=face.expand(len(texts), *face.shape))


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
