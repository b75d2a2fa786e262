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
    """Averages of a module's trainable parameters, in fp32.

    The number of updates stays on the module's device, so that an update of averages there reads
    nothing from the device. `torch.optim.swa_utils.AveragedModel` would copy frozen parameters and
    buffers too, and its averaging function gets the count on the device only to read it back; see
    docs/adr/0010.

    Args:
        module: what is averaged; the averages start from its present weights.
        decay: upper bound of the decay; 0 keeps no second copy and follows the weights.
        device: where the averages are kept; None: on the device of each parameter. On the host they
            take no GPU memory, but each update waits for the GPU and copies all weights.

    Attributes:
        shadow: parameter name -> average; empty with decay 0.
        updates: float64 scalar, the number of updates so far.
    """

    def __init__(self, module: nn.Module, decay: float, device: torch.device | None = None) -> None:
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}
        own_device = next(module.parameters()).device
        self.updates = torch.zeros((), dtype=torch.float64, device=own_device)
        if decay > 0:
            self.shadow = {
                name: parameter.detach().to(device or parameter.device, torch.float32, copy=True)
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
                weight = parameters[name].detach().to(average.device, torch.float32)
                average.lerp_(weight, share.to(average.device))
        self.updates += applied

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[None]:
        """Inside, `module` holds the averages; afterwards its own weights, bit for bit.

        Takes no device memory but for one tensor at a time: averages and weights change places.
        Weights of another dtype wait on the host, because their place could not hold an average
        without rounding it.
        """
        parameters = dict(module.named_parameters())
        same = {n: parameters[n] for n, a in self.shadow.items() if a.dtype == parameters[n].dtype}
        kept = {n: _host_copy(parameters[n]) for n in self.shadow if n not in same}
        self._exchange(same)
        _fill(parameters, {name: self.shadow[name] for name in kept})
        try:
            yield
        finally:
            self._exchange(same)
            _fill(parameters, kept)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Put averages and their count from a checkpoint back; names are those of the module."""
        self.updates.fill_(updates)
        for name, average in self.shadow.items():
            average.copy_(tensors[name])

    @torch.no_grad()
    def _exchange(self, parameters: dict[str, nn.Parameter]) -> None:
        """Let averages and weights of one dtype change places."""
        for name, parameter in parameters.items():
            average = self.shadow[name]
            if average.device == parameter.device:
                parameter.data, self.shadow[name] = average, parameter.data
            else:
                value = average.to(parameter.device)
                average.copy_(parameter)
                parameter.copy_(value)


def _host_copy(parameter: Tensor) -> Tensor:
    return parameter.detach().to("cpu", copy=True)


@torch.no_grad()
def _fill(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
