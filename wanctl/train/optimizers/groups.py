"""Which parameters decay, and which of them are matrices."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: matrices and kernels only.

    Norm scales are called `gamma` or hold one axis; `modulation` is a table of biases in Wan's
    blocks although it has three axes.
    """
    return name.rpartition(".")[2] == "weight" and parameter.ndim >= 2


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """Two groups, decayed and not; frozen parameters are left out, and so are empty groups."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (decayed if decays(name, parameter) else plain).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
