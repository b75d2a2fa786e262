"""Groups of parameters: which of them decay, and whose learning rate differs."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from wanctl.train.optimizers.options import GroupOptions
from wanctl.train.optimizers.patterns import matches

MATRICES = ("weight", "lora_A", "lora_B")
Named = Iterable[tuple[str, nn.Parameter]]


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: matrices and kernels only, those of adapters among them.

    Norm scales are called `gamma` or hold one axis; `modulation` is a table of biases in Wan's
    blocks although it has three axes.
    """
    return name.rpartition(".")[2] in MATRICES and parameter.ndim >= 2


def parameter_groups(
    named: Named, weight_decay: float, options: Sequence[GroupOptions] = ()
) -> list[dict[str, Any]]:
    """Groups for an optimizer, decayed ones and others; empty groups are left out.

    A parameter belongs to the first of `options` that matches its name. Frozen ones are left out.

    Returns:
        `params` and `weight_decay` of each group, and `lr_factor` where the rate differs.
    """
    found: dict[tuple[int, bool], list[nn.Parameter]] = {
        (index, decayed): [] for index in range(-1, len(options)) for decayed in (True, False)
    }
    for name, parameter in named:
        if parameter.requires_grad:
            index = first_match(name, options)
            found[-1 if index is None else index, decays(name, parameter)].append(parameter)
    groups = []
    for (index, decayed), parameters in found.items():
        group = {"params": parameters, "weight_decay": weight_decay if decayed else 0.0}
        if index >= 0:
            own = options[index]
            if own.weight_decay is not None:
                group["weight_decay"] = own.weight_decay
            if own.lr_factor != 1:
                group["lr_factor"] = own.lr_factor
        if parameters:
            groups.append(group)
    return groups


def first_match(name: str, options: Sequence[GroupOptions]) -> int | None:
    """Index of the first group whose pattern matches a parameter's name; None: no one does."""
    return next((i for i, each in enumerate(options) if matches(each.match, name)), None)
