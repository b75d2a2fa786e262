"""The training task VACE: a control, a mask and reference images drawn from each window."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.tasks.inputs import Inputs
from wanctl.train.dit.tasks.api import TaskOptions, TrainingTask
from wanctl.train.dit.vace.control_videos import file_version, find_control_videos
from wanctl.train.dit.vace.kinds import Window, draw_draft, usable_kinds
from wanctl.train.dit.vace.options import ControlOptions
from wanctl.train.dit.vace.references import draw_references
from wanctl.train.inputs.windows import ClipWindow

# Part of the cache's key: to be raised when the same random numbers give other inputs.
_VERSION = 1
_GOLDEN = (5**0.5 - 1) / 2


class VaceControls(TrainingTask):
    """Control, in- and out-painting, extension, references, and several of them together."""

    name = "vace"

    def __init__(self, options: TaskOptions) -> None:
        super().__init__(options)
        assert options.vace is not None
        self.controls = options.vace

    def serves(self, frames: int) -> bool:
        """Whether some kind can be drawn from so many frames."""
        return bool(usable_kinds(self.controls.kinds, frames))

    def num_draws(self, limit: int) -> int:
        """Every draw differs."""
        return limit

    @property
    def key(self) -> str:
        """All settings of what is drawn."""
        digest = hashlib.sha256(f"{_VERSION} {self.controls}".encode()).hexdigest()[:8]
        return f"{self.name} {digest}"

    def window_key(self, window: ClipWindow) -> str:
        """All settings, and the clip's control videos where they may be drawn."""
        found = find_control_videos(self.controls, window.clip)
        return " ".join([self.key, *map(file_version, found)])

    def window_inputs(
        self,
        window: ClipWindow,
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,
        draw: int,
    ) -> Inputs:
        """What `inputs` draws, or one of the clip's control videos."""
        return self._inputs(frames, fps, generator, draw, window)

    def inputs(
        self, frames: np.ndarray, fps: float, generator: torch.Generator, draw: int
    ) -> Inputs:
        """A control of one or two kinds, and as many references as this draw has."""
        return self._inputs(frames, fps, generator, draw, None)

    def _inputs(
        self,
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,
        draw: int,
        place: ClipWindow | None,
    ) -> Inputs:
        seed = int(torch.randint(2**62, (), generator=generator))
        window = Window(frames, np.random.default_rng(seed), self.controls, place)
        draft, _ = draw_draft(window)
        references = draw_references(window, num_references(draw, self.controls))
        return draft.inputs(frames, fps, references)

    def targets(self, latents: Tensor, conditions: Conditions) -> Tensor:
        """The references' latents before those of the window, as they come before its noise."""
        assert conditions.control is not None
        channels = latents.shape[1]
        references = conditions.control.shape[2] - latents.shape[2]
        return torch.cat((conditions.control[:, :channels, :references], latents), dim=2)

    def outputs(self, latents: Tensor, frames: int) -> Tensor:
        """The latents after those of the references."""
        return latents[:, :, latents.shape[2] - frames :]


def num_references(draw: int, options: ControlOptions) -> int:
    """How many references a draw has; a pure function, for all windows of a micro-batch alike.

    Multiples of the golden ratio, modulo 1, are spread evenly, so that the share holds from a few
    draws on. Their number grows with the draws up to the largest one, and starts again at one.
    """
    if (draw + 1) * _GOLDEN % 1 >= options.references:
        return 0
    return 1 + round(draw * options.references) % options.max_references
