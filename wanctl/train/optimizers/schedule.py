"""The learning rate as a function of the step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wanctl.train.optimizers.options import OptimizerOptions


@dataclass(frozen=True)
class Decay:
    """One course of the learning rate after the warm-up.

    Attributes:
        share: (progress from 0 to 1 at the last step, final share) -> share of the peak.
        keys: keys of the recipe's `optimizer` section that it reads.
    """

    share: Callable[[float, float], float]
    keys: frozenset[str] = frozenset()


def _constant(progress: float, final: float) -> float:  # noqa: ARG001
    return 1.0


def _linear(progress: float, final: float) -> float:
    return final + (1 - final) * (1 - progress)


def _cosine(progress: float, final: float) -> float:
    """Half a cosine (arXiv 1608.03983, equation 5, without restarts)."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


DECAYS: Mapping[str, Decay] = {
    "constant": Decay(_constant),
    "cosine": Decay(_cosine, frozenset({"final_share"})),
    "linear": Decay(_linear, frozenset({"final_share"})),
    # lowered by evaluations (plateau.py), not by the step
    "plateau": Decay(_constant, frozenset({"plateau"})),
}


def learning_rate(options: OptimizerOptions, step: int, steps: int) -> float:
    """Learning rate of optimizer step `step` (from 0) of `steps`.

    Linear from lr/warmup_steps to lr; then a row of DECAYS.
    """
    if step < options.warmup_steps:
        return options.lr * (step + 1) / options.warmup_steps
    span = max(1, steps - 1 - options.warmup_steps)
    progress = min(1.0, (step - options.warmup_steps) / span)
    return options.lr * DECAYS[options.decay].share(progress, options.final_share)


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
