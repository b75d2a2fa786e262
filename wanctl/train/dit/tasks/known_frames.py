"""Training tasks that are given some frames of the window: image to video and its relatives.

The Wan report (arXiv 2503.20314, section 5.1) trains one model on four of them: image to video,
continuation, first and last frame, and random frames.

Frames have the size of the window. Sampling gives CLIP the image in its own size; CLIP itself
resizes both to 224x224.
"""

import numpy as np
import torch

from wanctl.model.shapes import floor_frames
from wanctl.tasks.inputs import Inputs, SourceVideo
from wanctl.tasks.pixels import to_float
from wanctl.train.dit.tasks.api import TrainingTask


class FirstFrame(TrainingTask):
    """Image to video: the first frame is given."""

    name = "i2v"

    def inputs(
        self,
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,  # noqa: ARG002
        draw: int,  # noqa: ARG002
    ) -> Inputs:
        """The first frame."""
        return Inputs(image=to_float(frames[0]), fps=fps, exact=True)


class CleanFirstFrame(FirstFrame):
    """Text and image to video: the first latent frame is clean and has timestep 0."""

    name = "ti2v"


class FirstAndLastFrame(TrainingTask):
    """First and last frame to video."""

    name = "flf2v"

    def inputs(
        self,
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,  # noqa: ARG002
        draw: int,  # noqa: ARG002
    ) -> Inputs:
        """The first and the last frame."""
        first, last = to_float(frames[0]), to_float(frames[-1])
        return Inputs(image=first, last_image=last, fps=fps, exact=True)


class FirstFrames(TrainingTask):
    """Continuation: the first frames are given, 4n+1 of them, at most half of the window."""

    name = "continuation"

    def num_draws(self, limit: int) -> int:
        """One where the number of frames is fixed."""
        least, most = self.options.continuation_s
        return 1 if least == most else limit

    @property
    def key(self) -> str:
        """The bounds decide how many frames are given."""
        least, most = self.options.continuation_s
        return f"{self.name} {least:g}-{most:g}"

    def inputs(
        self,
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,
        draw: int,  # noqa: ARG002
    ) -> Inputs:
        """The first frames as a video that ends where the rest begins."""
        least, most = self.options.continuation_s
        given_s = least + (most - least) * torch.rand((), generator=generator).item()
        # rounded as where `sample` takes its default (tasks/known_frames.py)
        count = floor_frames(min(round(given_s * fps) + 1, len(frames) // 2))
        starts_s = np.arange(count) / fps
        video = SourceVideo(
            pictures=list(frames[:count]),
            starts_s=starts_s,
            ends_s=starts_s + 1 / fps,
            size=(frames.shape[1], frames.shape[2]),
        )
        return Inputs(video=video, given_frames=count, fps=fps, exact=True)


class RandomFrames(TrainingTask):
    """Interpolation: frames at random places are given."""

    name = "interpolation"

    def num_draws(self, limit: int) -> int:
        """Every draw has its own places."""
        return limit

    @property
    def key(self) -> str:
        """The largest number of frames decides the draw."""
        return f"{self.name} {self.options.interpolation_frames}"

    def inputs(
        self,
        frames: np.ndarray,
        fps: float,
        generator: torch.Generator,
        draw: int,  # noqa: ARG002
    ) -> Inputs:
        """From one frame to the largest number, at different places, one frame staying unknown."""
        most = min(self.options.interpolation_frames, len(frames) - 1)
        count = int(torch.randint(1, most + 1, (), generator=generator))
        places = torch.randperm(len(frames), generator=generator)[:count]
        known = {place: to_float(frames[place]) for place in sorted(places.tolist())}
        return Inputs(known_frames=known, fps=fps, exact=True)
