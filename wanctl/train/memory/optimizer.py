"""The optimizer's state in host memory: a step fetches it for some parameters at a time.

AdamW's moments take 8 bytes per fp32 weight, twice as much as the weights. The step itself runs on
the device, so that its results are those of the optimizer without offloading, bit for bit. Copying
the moments of a billion weights both ways takes 0.3 s at 55 GB/s.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from wanctl.errors import UserError
from wanctl.train.memory.host import Arrival, HostCopies

# Weights whose state is on the device at once: twice as many, because the next ones are fetched
# meanwhile. A 14B block has 350 million.
WEIGHTS_AT_ONCE = 2**26
# Optimizers whose step for some parameters does not depend on the others.
SEPARABLE = ("adamw", "adamw8bit", "adafactor", "muon")


def offload_optimizer(
    optimizer: torch.optim.Optimizer, copies: HostCopies, at_once: int = WEIGHTS_AT_ONCE
) -> None:
    """Keep the state of an optimizer on the host between its steps, in place.

    Args:
        optimizer: one of SEPARABLE.
        copies: between its parameters' device and the host.
        at_once: number of weights whose state is fetched together, at least one parameter's.

    Raises:
        UserError: the optimizer's step needs all parameters at once.
    """
    name = optimizer.param_groups[0].get("optimizer", SEPARABLE[0])
    if name not in SEPARABLE:
        raise UserError(
            f"train_dit.memory.offload_optimizer: {name} steps all parameters together; use "
            f"{', '.join(SEPARABLE[:-1])} or {SEPARABLE[-1]}, or set it to false"
        )
    optimizer.__class__ = _offloaded(type(optimizer))
    offloaded: Any = optimizer
    offloaded.host = _HostState(optimizer, copies, at_once)


class _Offloaded(torch.optim.Optimizer):
    """Steps some parameters after the other."""

    host: "_HostState"

    def step(self, closure: None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do the step of the optimizer, with the state of some parameters at a time."""
        assert closure is None
        groups, found_inf = self.param_groups, getattr(self, "found_inf", None)
        try:
            for group in self.host.fetched(groups):
                self.param_groups = [group]
                self.found_inf = found_inf  # some optimizers take it away
                super().step()
        finally:
            self.param_groups = groups


@functools.cache
def _offloaded(optimizer: type[torch.optim.Optimizer]) -> Any:
    return type(optimizer.__name__, (_Offloaded, optimizer), {})


class _HostState:
    """The state of an optimizer's parameters between its steps."""

    def __init__(self, optimizer: torch.optim.Optimizer, copies: HostCopies, at_once: int) -> None:
        self._optimizer = optimizer
        self._copies = copies
        self._at_once = at_once
        # (parameter's id, name of the value) -> the tensor on the host, and the end of its copy
        self._sent: dict[tuple[int, str], tuple[Tensor, Arrival]] = {}
        self._coming: dict[tuple[int, str], Arrival] = {}

    def fetched(self, groups: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Parts of the groups with their state on the device, until the next part is asked for."""
        parts = list(self._parts(groups))
        for number, part in enumerate(parts):
            for each in parts[number : number + 2]:
                self._fetch(each["params"])
            self._wait(part["params"])
            yield part
            self._send(part["params"])
        self._copies.finish()  # a checkpoint may read the state next

    def _parts(self, groups: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for group in groups:
            part: list[Tensor] = []
            for parameter in group["params"]:
                if part and sum(p.numel() for p in (*part, parameter)) > self._at_once:
                    yield {**group, "params": part}
                    part = []
                part.append(parameter)
            if part:
                yield {**group, "params": part}

    def _fetch(self, parameters: Sequence[Tensor]) -> None:
        for parameter, name, value in self._tensors(parameters):
            key = (id(parameter), name)
            sent = self._sent.pop(key, None)
            if sent is not None and sent[0] is value:  # not one that a checkpoint has restored
                tensor, self._coming[key] = self._copies.to_device(*sent)
                self._optimizer.state[parameter][name] = tensor

    def _wait(self, parameters: Sequence[Tensor]) -> None:
        for parameter, name, _ in self._tensors(parameters):
            if arrival := self._coming.pop((id(parameter), name), None):
                arrival.wait()

    def _send(self, parameters: Sequence[Tensor]) -> None:
        for parameter, name, value in self._tensors(parameters):
            host, arrival = self._copies.to_host(value)
            self._sent[id(parameter), name] = host, arrival
            self._optimizer.state[parameter][name] = host

    def _tensors(self, parameters: Sequence[Tensor]) -> list[tuple[Tensor, str, Tensor]]:
        """The tensors of the state; single numbers stay on the device."""
        return [
            (parameter, name, value)
            for parameter in parameters
            for name, value in self._optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor) and value.numel() > 1
        ]
