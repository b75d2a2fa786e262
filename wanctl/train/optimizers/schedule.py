"""Settings of an optimizer, and the learning rate as a function of the step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FINAL_SHARE = 0.05


@dataclass(frozen=True)
class OptimizerOptions:
    """Settings of an optimizer; fields and defaults are those of the recipe's `optimizer` section.

    Which of them a row of the table reads is said there.
    """

    name: str
    lr: float
    adamw_lr: float | None
    warmup_steps: int
    decay: str
    weight_decay: float
    betas: tuple[float, float]
    momentum: float
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


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of a step in every group, times the group's `lr_factor` if it has one.

    There is no scheduler object, so no state to save.
    """
    for group in optimizer.param_groups:
        value = lr * group.get("lr_factor", 1.0)
        if isinstance(group["lr"], Tensor):  # torchao compiles its step for a tensor
            group["lr"].fill_(value)
        else:
            group["lr"] = value
