"""What a task is, and what tasks share.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S text tokens, E text width.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape, latent_shape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize, check_inputs


class Task(Protocol):
    """One row of TASKS. Rows inherit what is here and write what differs.

    Attributes:
        name: what a recipe calls it.
        required_inputs: names of the inputs that must be given.
        optional_inputs: names of those that may be given.
    """

    name: ClassVar[str]
    required_inputs: ClassVar[tuple[str, ...]] = ()
    optional_inputs: ClassVar[tuple[str, ...]] = ()

    def default_frames(self, variant_frames: int) -> int:
        """Frames where the recipe says none; `variant_frames` is what the variant is run with."""
        return variant_frames

    def check(self, inputs: Inputs) -> None:
        """Check that the right inputs are given, before any of them is looked at.

        Raises:
            UserError: `KEY: message`.
        """
        check_inputs(self.name, inputs, self.required_inputs, self.optional_inputs)

    def refusal(self, dit: DiTShape) -> str | None:
        """Why a transformer of these sizes cannot do it; None where it can."""
        ...

    def size(
        self,
        inputs: Inputs,
        requested: RequestedSize,
        defaults: RunDefaults,
        vae: VAEShape,  # noqa: ARG002
    ) -> PixelShape:
        """Size of what comes out, asked before any work.

        Raises:
            UserError: `KEY: got ...; must be ...`.
        """
        self.check(inputs)
        return requested_shape(requested, defaults, self.default_frames(defaults.frames))

    def latent_shape(
        self,
        vae: VAEShape,
        frames: int,
        height: int,
        width: int,
        inputs: Inputs = NO_INPUTS,  # noqa: ARG002
    ) -> tuple[int, int, int, int]:
        """(C, T, Y, X) of the noise for a size in pixels.

        Raises:
            UserError: `KEY: got ...; must be ...`.
        """
        return noise_shape(vae, frames, height, width)

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Conditions of a batch.

        Args:
            texts: (tokens, E) embeddings, one per item, with or without zero rows at the end.
            text_len: rows the model is given.
            inputs: what is given besides, for all items alike.
            size: what `size` answered; tasks of words alone do without.
            encode: reads the inputs; tasks of words alone do without.
        """
        ...

    def output_latents(self, latents: Tensor, inputs: Inputs) -> Tensor:  # noqa: ARG002
        """What is decoded of (B, C, T, Y, X) latents."""
        return latents


def requested_shape(requested: RequestedSize, defaults: RunDefaults, frames: int) -> PixelShape:
    """What the recipe asks for, with defaults where it says nothing."""
    return PixelShape(
        requested.frames or frames,
        requested.height or defaults.height,
        requested.width or defaults.width,
    )


def text_only_refusal(dit: DiTShape) -> str | None:
    """Why a transformer cannot make something of words alone."""
    if dit.in_channels != dit.out_channels or dit.image_dim:
        return "it reads pictures beside the noise"
    return "it needs a control" if dit.vace_layers else None


def pad_texts(texts: Sequence[Tensor], text_len: int) -> Tensor:
    """Stack (tokens, E) embeddings into (B, text_len, E), cut off or filled up with zeros.

    The model attends to the zero rows as well; it was trained so, and their number matters.
    """
    padded = texts[0].new_zeros(len(texts), text_len, texts[0].shape[1])
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text[:text_len]
    return padded


def trim_text(text: Tensor) -> Tensor:
    """Drop the zero rows at the end of one (tokens, E) embedding: what is worth keeping."""
    used = text.any(dim=1).nonzero()
    return text[: int(used[-1]) + 1] if len(used) else text[:0]


def noise_shape(vae: VAEShape, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    """(C, T, Y, X) of the noise for a video of this size.

    Raises:
        UserError: `KEY: got ...; must be ...`.
    """
    if vae.temporal_stride != TEMPORAL_STRIDE:
        raise UserError(
            f"vae: shrinks {vae.temporal_stride}x in time; tasks here know {TEMPORAL_STRIDE}x"
        )
    shape = latent_shape(PixelShape(frames, height, width), vae.spatial_stride)
    return vae.z_dim, shape.frames, shape.height, shape.width
