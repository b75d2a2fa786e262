"""Windows of training clips, and the interface through which objectives sample and read them."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from wanctl.train.rng import MicrobatchIndex


class Shape(NamedTuple):
    """Size of a window in frames and pixels."""

    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class ClipWindow:
    """Consecutive frames of a clip at a training size.

    Attributes:
        clip: the clip's id in the data set.
        shape: frames, height, width.
        start: first frame, counted at the training frame rate.
        source: identifies the pixels (clip, crop, span, frame rate) beyond clip, shape and start.
    """

    clip: str
    shape: Shape
    start: int
    source: str = ""

    @property
    def key(self) -> str:
        """Name of these frames; keys of the latent cache are made of it."""
        frames, height, width = self.shape
        return f"{self.clip}/{frames}x{height}x{width}/{self.source}/{self.start}"


class Footage(Protocol):
    """Clips of a data set, cut into windows."""

    @property
    def held_out(self) -> bool:
        """Whether some clips are held out of training; `eval_windows` are then theirs."""
        ...

    def sample_windows(self, microbatch: MicrobatchIndex) -> list[ClipWindow]:
        """Windows of one micro-batch, all of one shape; a pure function of `microbatch`."""
        ...

    def largest_windows(self) -> list[ClipWindow]:
        """Those of a micro-batch of the bucket that takes most memory."""
        ...

    def training_windows(self) -> list[ClipWindow]:
        """Every window that `sample_windows` may return if windows are listed, else a spread."""
        ...

    def eval_windows(self) -> list[ClipWindow]:
        """A few fixed windows, of held-out clips where there are any."""
        ...

    def read(self, window: ClipWindow) -> np.ndarray:
        """(T, H, W, 3) uint8 RGB."""
        ...


def read_video(footage: Footage, window: ClipWindow) -> Tensor:
    """(3, T, H, W) float32 in [-1, 1]."""
    return to_video(torch.from_numpy(footage.read(window)))


def to_video(frames: Tensor) -> Tensor:
    """(..., T, H, W, 3) uint8 -> (..., 3, T, H, W) float32 in [-1, 1]."""
    return frames.movedim(-1, -4).to(torch.float32).div(127.5).sub(1)
