"""Exponential moving average of the weights: what previews, held-out losses and results use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def ema_decay(updates: Tensor, decay: float) -> Tensor:
    """Decay of update number `updates` (from 0): warms up, so early weights do not linger.

    min(decay, (1 + n) / (10 + n)): 0.1, 0.18, ... 0.92 at 110, 0.99 at 890.

    Args:
        updates: float64, so that the result has the bits of the same sum in Python.
        decay: upper bound.
    """
    return ((1 + updates) / (10 + updates)).clamp(max=decay)


class EMA:
    """Averages of a module's trainable parameters, in fp32 on their device.

    The number of updates stays on the device as well, so that an update reads nothing from there.
    `torch.optim.swa_utils.AveragedModel` would copy frozen parameters and buffers too, and its
    averaging function gets the count on the device only to read it back; see docs/adr/0010.

    Args:
        module: what is averaged; the averages start from its present weights.
        decay: upper bound of the decay; 0 keeps no second copy and follows the weights.

    Attributes:
        shadow: parameter name -> average; empty with decay 0.
        updates: float64 scalar, the number of updates so far.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}
        device = next(module.parameters()).device
        self.updates = torch.zeros((), dtype=torch.float64, device=device)
        if decay > 0:
            self.shadow = {
                name: parameter.detach().float().clone()
                for name, parameter in module.named_parameters()
                if parameter.requires_grad
            }

    @torch.no_grad()
    def update(self, module: nn.Module, applied: Tensor) -> None:
        """Move every average towards its weight, unless this step was skipped.

        Args:
            module: holds the weights.
            applied: bool scalar on the device: whether the optimizer changed the weights.
        """
        if self.shadow:
            parameters = dict(module.named_parameters())
            share = 1.0 - ema_decay(self.updates, self.decay)
            share = torch.where(applied, share, 0.0).float()
            for name, average in self.shadow.items():
                average.lerp_(parameters[name].detach().float(), share)
        self.updates += applied

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[None]:
        """Inside, `module` holds the averages; afterwards its own weights, bit for bit."""
        parameters = dict(module.named_parameters())
        own = {name: parameters[name].detach().clone() for name in self.shadow}
        self._fill(parameters, self.shadow)
        try:
            yield
        finally:
            self._fill(parameters, own)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Put averages and their count from a checkpoint back; names are those of the module."""
        self.updates.fill_(updates)
        for name, average in self.shadow.items():
            average.copy_(tensors[name])

    @staticmethod
    @torch.no_grad()
    def _fill(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            parameters[name].copy_(value)
