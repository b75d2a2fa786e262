"""The interface between the training loop and what it trains."""

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
    """Losses of one micro-batch.

    Attributes:
        per_sample: (B,) fp32, with gradient; the loop takes the mean.
        parts: name -> detached scalar or (B,) tensor, for the log.
    """

    per_sample: Tensor
    parts: Mapping[str, Tensor]


class Objective(Protocol, Generic[BatchT]):
    """A model, the source of its batches and the loss; the loop knows nothing else of the model."""

    @property
    def name(self) -> str:
        """The command, e.g. `train-vae`; starts every line that is logged."""
        ...

    @property
    def module(self) -> nn.Module:
        """The trained module; `loss` calls only its `forward`, because DDP hooks into that."""
        ...

    @property
    def skips_parameters(self) -> bool:
        """Whether some batches leave parameters without a gradient."""
        ...

    @property
    def eval_split(self) -> str:
        """Clips that `evaluate` uses: `held-out`, or `training` where none are held out."""
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
        """Write previews of the model; the averaged weights are in `module`."""
        ...

    def save(self, folder: Path, step: int, device: torch.device) -> None:
        """Write the finished model; the averaged weights are in `module`."""
        ...

    def saved_step(self, folder: Path) -> int | None:
        """Step of the finished model in `folder`; None where there is none."""
        ...


def per_sample_mean(values: Tensor) -> Tensor:
    """(B, ...) -> (B,) fp32."""
    return values.float().flatten(1).mean(dim=1)
