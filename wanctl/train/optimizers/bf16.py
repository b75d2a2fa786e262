"""AdamW for matrices that are kept in bfloat16 alone, without an fp32 copy.

A step is computed in fp32 and rounded to one of the two nearest bfloat16 numbers, with
probabilities that make it right on average (arXiv 2010.06192). Rounding to the nearest would lose
every step smaller than 1/512 of a weight. A weight, its gradient and its moments take 8 bytes
instead of 16.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from wanctl.model.dit.precision import keeps_fp32
from wanctl.train.optimizers.groups import decays
from wanctl.train.rng import keyed_seed

EPS = 1e-8
LOW_BITS = 16
"""Bits of an fp32 number that bfloat16 does not have."""


def keep_in_bf16(module: nn.Module) -> None:
    """Convert the trained matrices and kernels of a module to bfloat16, in place.

    Norms, biases, modulation and the layers that a transformer computes in fp32 stay as they are:
    they are small and need the digits.
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and decays(name, parameter) and not keeps_fp32(name):
            parameter.data = parameter.data.to(torch.bfloat16)


def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """Round fp32 values to bfloat16 up or down at random; the mean of the results is the value.

    A random number of 16 bits is added to the bits that are cut off. Both dtypes hold sign and
    magnitude, so that values below zero are rounded as their opposites are.

    Args:
        values: finite, contiguous or not.
        generator: on the device of the values.
    """
    noise = torch.randint(
        1 << LOW_BITS, values.shape, generator=generator, dtype=torch.int32, device=values.device
    )
    bits = values.contiguous().view(torch.int32).add_(noise) & -(1 << LOW_BITS)
    return bits.view(torch.float32).to(torch.bfloat16)


class BF16AdamW(torch.optim.Optimizer):
    """AdamW (arXiv 1711.05101) that rounds what it stores in bfloat16 stochastically.

    Random numbers are keyed by the number of the step and of the parameter, so that no generator
    is saved and all processes round alike. Parameters in fp32 are stored as they are.

    Args:
        groups: with `weight_decay` each.
        lr: learning rate.
        betas: decay rates of the moments.

    Attributes:
        found_inf: scalar on the device; a step with 1 there changes nothing. None: no step is
            skipped.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "calls": 0})
        self._generators: dict[torch.device, torch.Generator] = {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do one step; `closure` is not supported."""
        del closure
        for number, group in enumerate(self.param_groups):
            group["calls"] += 1
            for index, parameter in enumerate(group["params"]):
                if parameter.grad is not None:
                    key = ("rounding", group["calls"], number, index)
                    self._step_parameter(parameter, group, self._generator(parameter.device, key))

    def _step_parameter(
        self, parameter: Tensor, group: dict[str, Any], generator: torch.Generator
    ) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        applied = torch.ones_like(state["step"])
        gradient = parameter.grad.float()
        if self.found_inf is not None:
            skipped = self.found_inf.to(parameter.device).bool()
            applied = torch.where(skipped, 0.0, applied)
            gradient = torch.where(skipped, 0.0, gradient)
        state["step"] += applied
        first, second = group["betas"]
        mean = state["exp_avg"].float().lerp(gradient, 1 - first)
        square = state["exp_avg_sq"].float() * second
        square.addcmul_(gradient, gradient, value=1 - second)
        step = state["step"].clamp(min=1)
        root = (square / (1 - second**step)).sqrt_().add_(EPS)
        update = mean.div(root).div_(1 - first**step)
        value = parameter.float() * (1 - group["lr"] * group["weight_decay"])
        value.add_(update, alpha=-group["lr"])
        for target, new in (
            (parameter, value), (state["exp_avg"], mean), (state["exp_avg_sq"], square)
        ):  # fmt: skip
            if target.dtype == torch.bfloat16:
                new = round_stochastically(new, generator)
            target.copy_(torch.where(applied.bool(), new, target))

    def _generator(self, device: torch.device, key: tuple[str | int, ...]) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
        return self._generators[device].manual_seed(keyed_seed(*key))
