"""The base class of training tasks.

A training task draws from a window of footage the `Inputs` that sampling would be given by a user.
The conditions are then built by the row of TASKS of the same name, so that training and sampling
build them with the same code.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.model.variants import DiTShape
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.table import get_task
from wanctl.train.dit.vace.options import ControlOptions
from wanctl.train.inputs.windows import ClipWindow

FRAME_RATE = "it reads the frame rate, which training does not pass to it"


@dataclass(frozen=True)
class TaskOptions:
    """Settings of how inputs are drawn; each task reads its own.

    Attributes:
        continuation_s: least and most seconds of first frames that continuation is given.
        interpolation_frames: most known frames that interpolation is given.
        vace: controls, masks and references; None where that task is not trained.
    """

    continuation_s: tuple[float, float]
    interpolation_frames: int
    vace: ControlOptions | None


class TrainingTask(ABC):
    """One row of TRAINING_TASKS.

    Args:
        options: how inputs are drawn.

    Attributes:
        name: row of TASKS whose conditions it trains, and key of `train_dit.tasks`.
    """

    name: ClassVar[str]

    def __init__(self, options: TaskOptions) -> None:
        self.options = options

    def refusal(self, dit: DiTShape) -> str | None:
        """Why a transformer of these sizes cannot be trained on this task; None where it can."""
        return FRAME_RATE if dit.frame_rates else get_task(self.name).refusal(dit)

    def serves(self, frames: int) -> bool:
        """Whether windows of so many frames can be trained on."""
        return frames > 1

    @property
    def has_inputs(self) -> bool:
        """Whether the model gets anything beside text, which has to be encoded."""
        return True

    def num_draws(self, limit: int) -> int:  # noqa: ARG002
        """How many draws of one window differ, at most `limit`; 1: all of them are equal."""
        return 1

    @property
    def key(self) -> str:
        """What decides the inputs beside the window and the draw; part of the cache's key."""
        return self.name

    def window_key(self, window: ClipWindow) -> str:  # noqa: ARG002
        """What decides the inputs of a window beside its frames and the draw."""
        return self.key

    def window_inputs(
        self,
        window: ClipWindow,  # noqa: ARG002
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,
        draw: int,
    ) -> Inputs:
        """Draw inputs of one window; a task that reads files beside its clip overrides this.

        Args:
            window: where the frames come from.
            frames: see `inputs`.
            fps: see `inputs`.
            generator: see `inputs`.
            draw: see `inputs`.
        """
        return self.inputs(frames, fps, generator, draw)

    @abstractmethod
    def inputs(
        self, frames: np.ndarray, fps: float, generator: torch.Generator, draw: int
    ) -> Inputs:
        """Draw inputs of one window.

        Args:
            frames: (T, H, W, 3) uint8 RGB, all frames of the window.
            fps: their rate.
            generator: a CPU generator keyed by the task, the window and the draw; the only source
                of randomness.
            draw: number of the draw, from 0. All windows of a micro-batch have the same one, so
                what decides the shape of the conditions may depend on it and on nothing else that
                is drawn.
        """

    def targets(self, latents: Tensor, conditions: Conditions) -> Tensor:  # noqa: ARG002
        """Clean latents (B, C, T, Y, X) that the model is trained to make.

        Args:
            latents: (B, C, T, Y, X) of the windows.
            conditions: of the same batch.
        """
        return latents

    def outputs(self, latents: Tensor, frames: int) -> Tensor:  # noqa: ARG002
        """The part of sampled latents (B, C, T, Y, X) that is decoded.

        Args:
            latents: of the shape of `targets`.
            frames: latent frames of a window.
        """
        return latents
