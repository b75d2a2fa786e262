"""AdamW with weight decay on matrices only; the learning rate as a function of the step."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FINAL_SHARE = 0.05


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW's settings; fields and defaults are those of the recipe's `optimizer` section."""

    lr: float
    warmup_steps: int
    decay: str
    weight_decay: float
    betas: tuple[float, float]
    clip_norm: float


def learning_rate(options: OptimizerOptions, step: int, steps: int) -> float:
    """Learning rate of optimizer step `step` (from 0) of `steps`.

    Linear from lr/warmup_steps to lr; then constant, or a cosine that ends at 5 % of lr on the
    last step.
    """
    if step < options.warmup_steps:
        return options.lr * (step + 1) / options.warmup_steps
    if options.decay == "constant":
        return options.lr
    span = max(1, steps - 1 - options.warmup_steps)
    progress = min(1.0, (step - options.warmup_steps) / span)
    share = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
    return options.lr * share


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: matrices and kernels only.

    Norm scales are called `gamma` or hold one axis; `modulation` is a table of biases in Wan's
    blocks although it has three axes.
    """
    return name.rpartition(".")[2] == "weight" and parameter.ndim >= 2


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, object]]:
    """Two groups, decayed and not; frozen parameters are left out."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            (decayed if decays(name, parameter) else plain).append(parameter)
    groups: list[dict[str, object]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(module: nn.Module, options: OptimizerOptions) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, fused: one call per step on CPU and CUDA.

    The loop sets `found_inf` on it, a scalar on the device; fused steps with 1 there do nothing.
    """
    groups = parameter_groups(module.named_parameters(), options.weight_decay)
    # torch imports its compiler the first time an optimizer is made: two seconds, once.
    return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set `lr` in every group. There is no scheduler object, so no state to save."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """AdamW's state as `<moment>/<parameter name>` tensors, independent of the group order."""
    tensors = {}
    for name, parameter in module.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = torch.as_tensor(value).detach()
    return tensors


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Restore the tensors of `optimizer_tensors`; moments go to their parameter's device."""
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        moment, _, name = key.partition("/")
        by_parameter.setdefault(name, {})[moment] = value
    for name, parameter in module.named_parameters():
        if name in by_parameter:
            optimizer.state[parameter] = {
                moment: value.to(parameter.device) for moment, value in by_parameter[name].items()
            }
