"""Steps that are skipped because the loss or a gradient is not finite."""

import functools
from typing import Any

import torch
from torch import Tensor


class ReadsFoundInf(torch.optim.Optimizer):
    """Skips a step where `found_inf` holds 1, by a read from the device.

    For optimizers that cannot skip a step on the device itself. Adafactor and Prodigy read from
    the device for every parameter anyway; for the others it is one read per step.
    """

    found_inf: Tensor | None = None

    def step(self, closure: None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do the step of the optimizer, or nothing."""
        found_inf, self.found_inf = self.found_inf, None  # Adafactor refuses to be given one
        if found_inf is not None and found_inf.item():
            return None
        return super().step(closure)


@functools.cache
def skipping(optimizer: type[torch.optim.Optimizer]) -> Any:
    """The class of an optimizer of a library that skips steps where `found_inf` holds 1."""
    return type(optimizer.__name__, (ReadsFoundInf, optimizer), {})
