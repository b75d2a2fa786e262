"""TASKS: what is made of what. A task knows the sizes it takes and builds the model's conditions.

Training and sampling build their conditions here, so that a model meets the same thing in both.
To add a task, write a class with the methods of `Task` and name it in TASKS.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wanctl.errors import UserError, unknown
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape, latent_shape
from wanctl.model.variants import VAEShape


@dataclass(frozen=True)
class Conditions:
    """What the model is told besides latents and timestep.

    Attributes:
        context: (B, S, E) fp32 text embeddings, zero rows after each text's last token.
    """

    context: Tensor

    def to(self, device: torch.device) -> "Conditions":
        """The same on another device."""
        return Conditions(self.context.to(device))


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
        return _latent_shape(vae, frames, height, width)

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
        return _latent_shape(vae, frames, height, width)

    def conditions(self, texts: Sequence[Tensor], text_len: int) -> Conditions:
        """The text alone."""
        return Conditions(pad_texts(texts, text_len))


TASKS: dict[str, Task] = {task.name: task for task in (T2V(), T2I())}


def get_task(name: str) -> Task:
    """Look a task up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in TASKS:
        raise UserError(f"task: {unknown('task', name, TASKS)}")
    return TASKS[name]


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


def _latent_shape(vae: VAEShape, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    if vae.temporal_stride != TEMPORAL_STRIDE:
        raise UserError(
            f"vae: shrinks {vae.temporal_stride}x in time; tasks here know {TEMPORAL_STRIDE}x"
        )
    shape = latent_shape(PixelShape(frames, height, width), vae.spatial_stride)
    return vae.z_dim, shape.frames, shape.height, shape.width
