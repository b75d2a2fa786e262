"""Task `r2v`: a video of the subjects of reference images, Phantom.

Each image is letter-boxed on white and encoded as one latent frame. These follow the video in the
transformer's sequence.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.references import References
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, pad_texts, text_only_refusal
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.sizing import letterbox_lanczos

MAX_REFERENCES = 4


class R2V(Task):
    """Reference images and text to video."""

    name = "r2v"
    required_inputs = ("references",)
    guides_by_references = True

    def refusal(self, dit: DiTShape) -> str | None:
        """Refuse models that need an image or a control."""
        return text_only_refusal(dit)

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested size; references do not decide it."""
        shape = super().size(inputs, requested, defaults, vae)
        if len(inputs.references) > MAX_REFERENCES:
            raise UserError(
                f"references: got {len(inputs.references)}; task {self.name} takes 1 to "
                f"{MAX_REFERENCES} pictures"
            )
        for picture in inputs.references:
            letterbox_lanczos(picture, (shape.height, shape.width))  # refuses what is too narrow
        return shape

    def more_frames(self, latent_frames: int, references: int) -> int:  # noqa: ARG002
        """A latent frame for each reference."""
        return references

    def dropped_noise(self, inputs: Inputs) -> int:
        """The published program draws noise for the references too, and replaces it."""
        return len(inputs.references)

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """The text, and the references after the video."""
        assert size is not None
        assert encode is not None
        sides = (size.height, size.width)
        pictures = [letterbox_lanczos(each, sides) for each in inputs.references]
        latents = torch.cat([encode.latents(each[:, None]) for each in pictures], dim=1)
        return Conditions(
            pad_texts(texts, text_len),
            references=References(latents.expand(len(texts), *latents.shape)),
        )
