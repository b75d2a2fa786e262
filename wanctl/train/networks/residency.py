"""Move a network that is idle for many steps to host memory, with its optimizer's state.

Two experts of 14B do not fit into a GPU together; one of them learns at a time. Parameters stay the
same objects, so that the optimizer and DDP still refer to them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from wanctl.train.networks.ema import EMA

HOST = torch.device("cpu")


class Residency:
    """Where a network, the state of its optimizer and its averages are.

    Args:
        module: the network, on `device`.
        optimizer: of the network.
        ema: its averages; those that are kept on the host stay there.
        device: where the network learns.
    """

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA, device: torch.device
    ) -> None:
        self._module = module
        self._optimizer = optimizer
        self._ema = ema
        self._device = device
        self._averages_follow = any(t.device != HOST for t in ema.shadow.values())

    def to_host(self) -> None:
        """Free the device's memory; what is on the host already is not copied."""
        self._move(HOST)

    def to_device(self) -> None:
        """Bring everything back, wherever an evaluation has left the module."""
        self._move(self._device)

    def _move(self, device: torch.device) -> None:
        self._module.to(device)
        for state in self._optimizer.state.values():
            state.update(_moved(state.items(), device))
        if self._averages_follow:
            self._ema.shadow.update(_moved(self._ema.shadow.items(), device))


def _moved(values: Iterable[tuple[str, object]], device: torch.device) -> dict[str, Tensor]:
    """The tensors that are elsewhere, moved, so that nothing is assigned where nothing moves."""
    return {
        name: value.to(device)
        for name, value in values
        if isinstance(value, Tensor) and value.device != device
    }
