"""The base class of tasks, and functions that tasks share.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S text tokens, E text width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape, latent_shape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize, check_inputs


class Task(ABC):
    """One row of TASKS: checks inputs, chooses the size, builds the conditions.

    Attributes:
        name: name in a recipe.
        required_inputs: inputs that must be present.
        optional_inputs: inputs that may be present.
        guides_by_references: guidance has a scale for references beside that of the text.
    """

    name: ClassVar[str]
    required_inputs: ClassVar[tuple[str, ...]] = ()
    optional_inputs: ClassVar[tuple[str, ...]] = ()
    guides_by_references: ClassVar[bool] = False

    def default_frames(self, variant_frames: int) -> int:
        """Number of frames where the recipe has none; `variant_frames` is the variant's default."""
        return variant_frames

    def check(self, inputs: Inputs) -> None:
        """Check which inputs are present, before any of them is used.

        Raises:
            UserError: `KEY: message`.
        """
        check_inputs(self.name, inputs, self.required_inputs, self.optional_inputs)

    @abstractmethod
    def refusal(self, dit: DiTShape) -> str | None:
        """Why a transformer of these sizes cannot do this task; None where it can."""

    def size(
        self,
        inputs: Inputs,
        requested: RequestedSize,
        defaults: RunDefaults,
        vae: VAEShape,  # noqa: ARG002
    ) -> PixelShape:
        """Size of the output, computed before any work.

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

    def more_frames(self, latent_frames: int, references: int) -> int:  # noqa: ARG002
        """Latent frames in the transformer's sequence beside those of the output.

        Args:
            latent_frames: of the output.
            references: number of reference images.
        """
        return 0

    def dropped_noise(self, inputs: Inputs) -> int:  # noqa: ARG002
        """Latent frames of noise that are drawn after those of the noise, and not used."""
        return 0

    @abstractmethod
    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Build the conditions of a batch.

        Args:
            texts: (tokens, E) embeddings, one per item, with or without zero rows at the end.
            text_len: rows that the model takes.
            inputs: images and videos, the same for all items.
            size: result of `size`; unused by tasks with text alone.
            encode: encodes the inputs; unused by tasks with text alone.
        """

    def output_latents(self, latents: Tensor, inputs: Inputs) -> Tensor:  # noqa: ARG002
        """The part of (B, C, T, Y, X) latents that is decoded to the output."""
        return latents


def requested_shape(requested: RequestedSize, defaults: RunDefaults, frames: int) -> PixelShape:
    """The requested size, with defaults for what the recipe leaves out."""
    return PixelShape(
        requested.frames or frames,
        requested.height or defaults.height,
        requested.width or defaults.width,
    )


def text_only_refusal(dit: DiTShape) -> str | None:
    """Why a transformer cannot generate from text alone; None where it can."""
    if dit.in_channels != dit.out_channels or dit.image_dim:
        return "it reads pictures beside the noise"
    if dit.speech:
        return "it reads speech and a picture"
    return "it needs a control" if dit.vace_layers else None


def pad_texts(texts: Sequence[Tensor], text_len: int) -> Tensor:
    """Stack (tokens, E) embeddings into (B, text_len, E), truncated or padded with zeros.

    The model was trained to attend to the zero rows as well, so their number matters.
    """
    padded = texts[0].new_zeros(len(texts), text_len, texts[0].shape[1])
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text[:text_len]
    return padded


def trim_text(text: Tensor) -> Tensor:
    """Drop the zero rows at the end of one (tokens, E) embedding, as it is stored."""
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
