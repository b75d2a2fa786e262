"""The optimizers that a recipe can name."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from wanctl.errors import UserError, unknown
from wanctl.train.optimizers.eight_bit import adamw8bit_class
from wanctl.train.optimizers.groups import decays, parameter_groups
from wanctl.train.optimizers.muon import Muon
from wanctl.train.optimizers.nonfinite import skipping
from wanctl.train.optimizers.schedule import OptimizerOptions

Named = Iterable[tuple[str, nn.Parameter]]
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
        keys: keys of the recipe's `optimizer` section that it reads, besides `lr`, `warmup_steps`,
            `decay`, `weight_decay` and `clip_norm`, which all of them do.
        package: name on the package index of the library that it needs; None: torch.
        module: module of that library.
        group_state: values of its parameter groups that change while it runs.
        averages: whether it averages the weights itself, and needs a constant learning rate.
    """

    make: Callable[[Named, OptimizerOptions], torch.optim.Optimizer]
    lr: str
    keys: frozenset[str] = frozenset()
    package: str | None = None
    module: str | None = None
    group_state: tuple[str, ...] = ()
    averages: bool = False


def make_optimizer(module: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimizer that `options` name, over the trainable parameters of a module.

    The loop sets `found_inf` on it, a scalar on the device; steps with 1 there do nothing.

    Raises:
        OptimizerError: there is none of that name, or its library is not installed.
    """
    check_optimizer(options.name)
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    # torch imports its compiler the first time an optimizer is made: two seconds, once.
    optimizer = OPTIMIZERS[options.name].make(named, options)
    for group in optimizer.param_groups:
        group["optimizer"] = options.name  # for its saved state
    return optimizer


def check_optimizer(name: str) -> None:
    """Check that an optimizer is known and its library installed, before any work.

    Raises:
        OptimizerError: it is not.
    """
    if name not in OPTIMIZERS:
        raise OptimizerError(f"optimizer.name: {unknown('optimizer', name, OPTIMIZERS)}")
    row = OPTIMIZERS[name]
    if row.module is not None and importlib.util.find_spec(row.module) is None:
        raise OptimizerError(
            f"optimizer.name: {name} needs {row.package}, which is not installed; "
            f"`pip install {row.package}`, or say {DEFAULT}"
        )


def _adamw(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101), fused: one call per step on CPU and CUDA."""
    groups = parameter_groups(named, options.weight_decay)
    return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas, fused=True)


def _muon(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Muon for matrices and kernels, AdamW for norms, biases and modulation.

    The first and last layers of encoder and decoder are among the kernels: by AdamW a VAE of 16
    channels has 19.9 dB after 67 steps on images instead of 20.6.
    """
    named = list(named)
    matrices = [p for n, p in named if decays(n, p)]
    rest = [p for n, p in named if not decays(n, p)]
    factor = 1.0 if options.adamw_lr is None else options.adamw_lr / options.lr
    groups = {"params": matrices, "weight_decay": options.weight_decay}
    rests = {"params": rest, "weight_decay": 0.0, "lr_factor": factor}
    return Muon(
        [groups] if matrices else [],
        [rests] if rest else [],
        lr=options.lr,
        momentum=options.momentum,
        betas=options.betas,
    )


def _adafactor(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Adafactor (arXiv 1804.04235): second moments as a row and a column per matrix.

    Of a kernel torch factors the last two axes, so that its saving there is smaller.
    """
    groups = parameter_groups(named, options.weight_decay)
    return skipping(torch.optim.Adafactor)(groups, lr=options.lr)


def _adamw8bit(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """AdamW whose moments take 2 bytes of memory per weight instead of 8."""
    groups = parameter_groups(named, options.weight_decay)
    return skipping(adamw8bit_class())(groups, lr=options.lr, betas=options.betas)


def _prodigy(named: Named, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Prodigy (arXiv 2306.06101): AdamW with a step size that it estimates."""
    prodigy = importlib.import_module("prodigyopt").Prodigy
    groups = parameter_groups(named, options.weight_decay)
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
    groups = parameter_groups(named, options.weight_decay)
    optimizer = skipping(adamw)(groups, lr=options.lr, betas=options.betas)
    optimizer.train()
    return optimizer


_AS_ADAM = "size of a step of each weight"
OPTIMIZERS: dict[str, OptimizerRow] = {
    DEFAULT: OptimizerRow(_adamw, _AS_ADAM, frozenset({"betas"})),
    "muon": OptimizerRow(
        _muon,
        f"{_AS_ADAM} of matrices and kernels, times 0.2 (as large as AdamW's); `adamw_lr` is that "
        "of norms, biases and modulation",
        frozenset({"betas", "momentum", "adamw_lr"}),
    ),
    "adafactor": OptimizerRow(
        _adafactor,
        "largest step, relative to the root mean square of the weights of a parameter",
    ),
    "adamw8bit": OptimizerRow(
        _adamw8bit, _AS_ADAM, frozenset({"betas"}), package="torchao", module="torchao"
    ),
    "prodigy": OptimizerRow(
        _prodigy,
        "factor of the step size that it estimates; 1 as a rule",
        frozenset({"betas"}),
        package="prodigyopt",
        module="prodigyopt",
        group_state=("d", "d_max", "d_numerator", "d_denom", "d_hat", "k"),
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
