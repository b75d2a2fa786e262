"""Exponential moving average of the weights: what previews, held-out losses and results use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def ema_decay(updates: int, decay: float) -> float:
    """Decay of update number `updates` (from 0): warms up, so early weights do not linger.

    min(decay, (1 + n) / (10 + n)): 0.1, 0.18, ... 0.92 at 110, 0.99 at 890.
    """
    return min(decay, (1 + updates) / (10 + updates))


class EMA:
    """Averages of a module's trainable parameters, in fp32 on their device.

    Args:
        module: what is averaged; the averages start from its present weights.
        decay: upper bound of the decay; 0 keeps no second copy and follows the weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}
        if decay > 0:
            self.shadow = {
                name: parameter.detach().float().clone()
                for name, parameter in module.named_parameters()
                if parameter.requires_grad
            }

    @torch.no_grad()
    def update(self, module: nn.Module, updates: int) -> None:
        """Move every average towards its weight; `updates` is how many were made before."""
        if not self.shadow:
            return
        parameters = dict(module.named_parameters())
        averages = list(self.shadow.values())
        weights = [parameters[name].detach().float() for name in self.shadow]
        share = 1.0 - ema_decay(updates, self.decay)
        torch._foreach_lerp_(averages, weights, share)  # pyright: ignore[reportPrivateImportUsage]

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
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put averages from a checkpoint back; names must be those of the module."""
        for name, average in self.shadow.items():
            average.copy_(tensors[name])

    @staticmethod
    @torch.no_grad()
    def _fill(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            parameters[name].copy_(value)
