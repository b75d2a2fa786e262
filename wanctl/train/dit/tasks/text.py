"""Training tasks with text alone: videos, and images as videos of one frame."""

import numpy as np
import torch

from wanctl.tasks.inputs import NO_INPUTS, Inputs
from wanctl.train.dit.tasks.api import TrainingTask


class TextToVideo(TrainingTask):
    """Text to video."""

    name = "t2v"

    @property
    def has_inputs(self) -> bool:
        """Only the text is given."""
        return False

    def inputs(
        self,
        frames: np.ndarray,  # noqa: ARG002
        fps: float,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
        draw: int,  # noqa: ARG002
    ) -> Inputs:
        """No inputs."""
        return NO_INPUTS


class TextToImage(TextToVideo):
    """Text to image, in buckets of one frame."""

    name = "t2i"

    def serves(self, frames: int) -> bool:
        """Images alone."""
        return frames == 1
