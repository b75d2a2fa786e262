"""The optimizers that a recipe can name."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from wanctl.errors import UserError, unknown
from wanctl.train.optimizers.bf16 import BF16AdamW
from wanctl.train.optimizers.eight_bit import adamw8bit_class
from wanctl.train.optimizers.groups import Named, decays, first_match, parameter_groups
from wanctl.train.optimizers.muon import Muon
from wanctl.train.optimizers.nonfinite import skipping
from wanctl.train.optimizers.options import GroupOptions, OptimizerOptions

DEFAULT = "adamw"


class OptimizerError(UserError):
    """An optimizer that is not known, not installed, or not the one of a checkpoint."""


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer.

    Attributes:
        make: optimizer of the named parameters that are trained. A step with 1 in its `found_inf`
            changes nothing.
        lr: what `optimizer.lr` means for it.
        keys: keys of the recipe's `optimizer` section that it reads, besides those that all do:
            `lr`, `warmup_steps`, `decay` and its keys, `weight_decay`, `clip_norm`, `groups`.
        package: name on the package index of the library that it needs; None: torch.
        module: module of that library.
        group_state: values of its parameter groups that change while it runs.
        averages: whether it averages the weights itself, and needs a constant learning rate.
        one_rate: whether all groups must have one learning rate.
        state_bytes: of its state per trained weight, for the memory that its first step will take.
    """

    make: Callable[[Named, OptimizerOptions], torch.optim.Optimizer]
    lr: str
    keys: frozenset[str] = frozenset()
    package: str | None = None
    module: str | None = None
    group_state: tuple[str, ...] = ()
    averages: bool = False
    one_rate: bool = False
    state_bytes: int = 8


def make_optimizer(module: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimizer that `options` name, over the trainable parameters of a module.

    The loop sets `found_inf` on it, a scalar on the device; steps with 1 there do nothing.

    Raises:
        OptimizerError: there is none of that name, its library is not installed, or a group of
            `options` has no parameter.
    """
    check_optimizer(options.name)
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    _check_groups([name for name, _ in named], options.groups)
    # torch imports its compiler the first time an optimizer is made: two seconds, once.
    optimizer = OPTIMIZERS[options.name].make(named, options)
    for group in optimizer.param_groups:
        group["optimizer"] = options.name  # for its saved state
    return optimizer


def check_optimizer(name: str, key: str = "optimizer.name") -> None:
    """Check that an optimizer is known and its library installed, before any work.

    Args:
        name: of OPTIMIZERS.
        key: of the recipe that names it, for the error.

    Raises:
        OptimizerError: it is not.
    """
    if name not in OPTIMIZERS:
        raise OptimizerError(f"{key}: {unknown('optimizer', name, OPTIMIZERS)}")
    row = OPTIMIZERS[name]
    if row.module is not None and importlib.util.find_spec(row.module) is None:
        raise OptimizerError(
            f"{key}: {name} needs {row.package}, which is not installed; "
            f"`pip install {row.package}`, or say {DEFAULT}"
        )


def _check_groups(names: Sequence[str], groups: Sequence[GroupOptions]) -> None:
    matched = {first_match(name, groups) for name in names}
    for index, group in enumerate(groups):
        if index not in matched:
            like = ", ".join(list(names)[:: max(1, len(names) // 3)][:3])
            why = (
                "groups before it have all of them"
                if any(first_match(name, [group]) is not None for name in names)
                else f"trained parameters are called e.g. {like}"
            )
            raise OptimizerError(
                f"optimizer.groups.{index}.match: no trained parameter is left that matches "
                f"{group.match!r}; {why}; mend the pattern or leave the group out"
            )


def _adamw(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101), fused: one call per step on CPU and CUDA."""
    groups = _groups(named, options)
    if options.weights == "bf16":
        return BF16AdamW(groups, lr=options.lr, betas=options.betas)
    return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas, fused=True)


def _muon(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Muon for matrices and kernels, AdamW for norms, biases and modulation.

    The first and last layers of encoder and decoder are among the kernels: by AdamW a VAE of 16
    channels has 19.9 dB after 67 steps on images instead of 20.6.
    """
    named = list(named)
    matrices = [(n, p) for n, p in named if decays(n, p)]
    rest = [(n, p) for n, p in named if not decays(n, p)]
    factor = 1.0 if options.adamw_lr is None else options.adamw_lr / options.lr
    rests = _groups(rest, options)
    for group in rests:
        group["lr_factor"] = factor * group.get("lr_factor", 1.0)
    return Muon(
        _groups(matrices, options),
        rests,
        lr=options.lr,
        momentum=options.momentum,
        betas=options.betas,
    )


def _adafactor(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Adafactor (arXiv 1804.04235): second moments as a row and a column per matrix.

    Of a kernel torch factors the last two axes, so that its saving there is smaller.
    """
    groups = _groups(named, options)
    return skipping(torch.optim.Adafactor)(groups, lr=options.lr)


def _adamw8bit(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """AdamW whose moments take 2 bytes of memory per weight instead of 8."""
    groups = _groups(named, options)
    return skipping(adamw8bit_class())(groups, lr=options.lr, betas=options.betas)


def _prodigy(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Prodigy (arXiv 2306.06101): AdamW with a step size that it estimates."""
    prodigy = importlib.import_module("prodigyopt").Prodigy
    groups = _groups(named, options)
    # with bias correction and without lr in the estimate, a warm-up does not mislead it
    return skipping(prodigy)(
        groups,
        lr=options.lr,
        betas=options.betas,
        use_bias_correction=True,
        safeguard_warmup=options.warmup_steps > 0,
    )


def _schedulefree(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Schedule-free AdamW (arXiv 2405.15682): a constant rate and an average of the weights."""
    adamw: Any = importlib.import_module("schedulefree").AdamWScheduleFree
    groups = _groups(named, options)
    optimizer = skipping(adamw)(groups, lr=options.lr, betas=options.betas)
    optimizer.train()
    return optimizer


def _groups(named: Named, options: OptimizerOptions) -> list[dict[str, Any]]:
    return parameter_groups(named, options.weight_decay, options.groups)


_AS_ADAM = "size of a step of each weight"
OPTIMIZERS: dict[str, OptimizerRow] = {
    DEFAULT: OptimizerRow(
        _adamw, _AS_ADAM, frozenset({"betas", "weights"}), group_state=("calls",)
    ),
    "muon": OptimizerRow(
        _muon,
        f"{_AS_ADAM} of matrices and kernels, times 0.2 (as large as AdamW's); `adamw_lr` is that "
        "of norms, biases and modulation",
        frozenset({"betas", "momentum", "adamw_lr"}),
        state_bytes=4,
    ),
    "adafactor": OptimizerRow(
        _adafactor,
        "largest step, relative to the root mean square of the weights of a parameter",
        state_bytes=0,
    ),
    "adamw8bit": OptimizerRow(
        _adamw8bit,
        _AS_ADAM,
        frozenset({"betas"}),
        package="torchao",
        module="torchao",
        state_bytes=2,
    ),
    "prodigy": OptimizerRow(
        _prodigy,
        "factor of the step size that it estimates; 1 as a rule",
        frozenset({"betas"}),
        package="prodigyopt",
        module="prodigyopt",
        group_state=("d", "d_max", "d_numerator", "d_denom", "d_hat", "k"),
        one_rate=True,
        state_bytes=16,
    ),
    "schedulefree": OptimizerRow(
        _schedulefree,
        f"{_AS_ADAM}, before averaging; 1 to 10 times AdamW's",
        frozenset({"betas"}),
        package="schedulefree",
        module="schedulefree",
        group_state=("k", "weight_sum", "lr_max", "scheduled_lr"),
        averages=True,
    ),
}
