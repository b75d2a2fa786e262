"""What the loop trains: the one interface between the loop and the two commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from wanctl.train.rng import MicrobatchIndex

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Losses:
    """What one micro-batch came to.

    Attributes:
        per_sample: (B,) fp32, with gradient; the loop takes the mean.
        parts: name -> detached scalar or (B,) tensor, for the log.
    """

    per_sample: Tensor
    parts: Mapping[str, Tensor]


class Objective(Protocol, Generic[BatchT]):
    """A model, where its batches come from and what is minimised.

    The loop never learns whether it trains a VAE or a transformer.
    """

    @property
    def name(self) -> str:
        """The command, e.g. `train-vae`; opens every line that is printed."""
        ...

    @property
    def module(self) -> nn.Module:
        """What is trained; `loss` reaches it through its `forward` only (DDP hooks sit there)."""
        ...

    @property
    def skips_parameters(self) -> bool:
        """Whether some batches leave parameters without a gradient."""
        ...

    @property
    def eval_split(self) -> str:
        """What `evaluate` measures on: `held-out`, or `training` where nothing is held out."""
        ...

    def batch(self, microbatch: MicrobatchIndex) -> BatchT:
        """Samples of one micro-batch; a pure function of `microbatch`, called in a thread."""
        ...

    def loss(
        self, model: nn.Module, batch: BatchT, microbatch: MicrobatchIndex, device: torch.device
    ) -> Losses:
        """Per-sample losses. `model` is `module`, wrapped by accelerate."""
        ...

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Figures on fixed samples with fixed noise; the averaged weights are in `module`."""
        ...

    def preview(self, folder: Path, step: int, device: torch.device) -> list[Path]:
        """Write pictures of what the model does now; the averaged weights are in `module`."""
        ...

    def save(self, folder: Path, step: int, device: torch.device) -> None:
        """Write the finished model; the averaged weights are in `module`."""
        ...

    def saved_step(self, folder: Path) -> int | None:
        """Step of the finished model in `folder`; None where there is none."""
        ...
