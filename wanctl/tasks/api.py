"""What a task is, and what tasks share.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S text tokens, E text width.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape, latent_shape
from wanctl.model.variants import VAEShape


class Task(Protocol):
    """One row of TASKS."""

    @property
    def name(self) -> str:
        """What a recipe calls it."""
        ...

    def default_frames(self, variant_frames: int) -> int:
        """Frames where the recipe says none; `variant_frames` is what the variant is run with."""
        ...

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int
    ) -> tuple[int, int, int, int]:
        """(C, T, Y, X) of the noise for a size in pixels; asked before any work.

        Raises:
            UserError: `KEY: got ...; must be ...`.
        """
        ...

    def conditions(self, texts: Sequence[Tensor], text_len: int) -> Conditions:
        """Conditions of a batch.

        Args:
            texts: (tokens, E) embeddings, one per item, with or without zero rows at the end.
            text_len: rows the model is given.
        """
        ...


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
