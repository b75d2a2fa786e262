"""The state of an optimizer as named tensors, for checkpoints, and its weights for evaluation."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from wanctl.train.optimizers.eight_bit import joined_moment, moment_parts
from wanctl.train.optimizers.table import DEFAULT, OPTIMIZERS, OptimizerError

# Key prefixes that no value of a parameter's state has.
GROUP = "group"
NAME = "optimizer"


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The state as `<value>/<parameter name>` tensors, independent of the group order.

    Values of the groups, such as Prodigy's step size, are `group/<number>/<value>`: a group that a
    recipe's settings make is a group again when they are the same. An optimizer other than AdamW
    adds an empty tensor `optimizer/<name>`. A tensor that a library keeps in parts, such as codes
    and scales of 8-bit moments, is saved as `<value>.<part>/<parameter name>`.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        for value_name, value in optimizer.state.get(parameter, {}).items():
            for part, tensor in _parts(value).items():
                tensors[f"{value_name}{part}/{name}"] = tensor.detach()
    row = _row_name(optimizer)
    for index, group in enumerate(optimizer.param_groups):
        for key in OPTIMIZERS[row].group_state:
            if key in group:
                value = torch.as_tensor(group[key], dtype=torch.float64)
                tensors[f"{GROUP}/{index}/{key}"] = value
    if row != DEFAULT:
        tensors[f"{NAME}/{row}"] = torch.zeros(0)
    return tensors


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Restore the tensors of `optimizer_tensors`; values go to their parameter's device.

    Raises:
        OptimizerError: they are the state of another optimizer.
    """
    by_owner: dict[str, dict[str, Tensor]] = {}
    found = DEFAULT
    for key, value in tensors.items():
        value_name, _, owner = key.partition("/")
        if value_name == NAME:
            found = owner
        elif value_name == GROUP:
            index, _, group_key = owner.partition("/")
            group = optimizer.param_groups[int(index)]
            kind = int if isinstance(group.get(group_key), int) else float
            group[group_key] = kind(value.item())
        else:
            by_owner.setdefault(owner, {})[value_name] = value
    row = _row_name(optimizer)
    if found != row:
        raise OptimizerError(
            f"optimizer.name: got {row}, but the checkpoint's run had {found}; "
            "go back to that, or give another --out"
        )
    for name, parameter in module.named_parameters():
        if name in by_owner:
            optimizer.state[parameter] = _values(by_owner[name], parameter)


@contextlib.contextmanager
def evaluation_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, the parameters hold the weights that the optimizer recommends for use.

    Those of a schedule-free optimizer are an average; others use the weights that they train.
    Afterwards the trained weights are back, bit for bit, which the library's `train()` would only
    restore to rounding.
    """
    if not OPTIMIZERS[_row_name(optimizer)].averages:
        yield
        return
    averaging: Any = optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    # on the host: the device may not hold a second copy of the weights
    own = [parameter.detach().to("cpu", copy=True) for parameter in parameters]
    averaging.eval()
    try:
        yield
    finally:
        averaging.train()
        with torch.no_grad():
            for parameter, value in zip(parameters, own, strict=True):
                parameter.copy_(value)


def _row_name(optimizer: torch.optim.Optimizer) -> str:
    return optimizer.param_groups[0].get("optimizer", DEFAULT)


def _parts(value: Any) -> dict[str, Tensor]:
    """Suffix -> plain tensor; a whole number of Python becomes an int64 scalar."""
    if hasattr(value, "__tensor_flatten__"):
        return {f".{name}": part for name, part in moment_parts(value).items()}
    return {"": torch.as_tensor(value)}


def _values(tensors: dict[str, Tensor], parameter: Tensor) -> dict[str, Tensor | int]:
    """The inverse of `_parts`, for all values of a parameter.

    An int64 scalar is a number of Python: no optimizer has such tensors.
    """
    values: dict[str, Tensor | int] = {}
    divided: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, part = key.partition(".")
        if part:
            divided.setdefault(name, {})[part] = tensor
        elif tensor.dtype == torch.int64 and tensor.ndim == 0:
            values[name] = int(tensor.item())
        elif tensor.shape == parameter.shape and tensor.is_floating_point():
            values[name] = tensor.to(parameter)  # a run may go on with weights of another dtype
        else:
            values[name] = tensor.to(parameter.device)
    return values | {name: joined_moment(parts, parameter) for name, parts in divided.items()}
