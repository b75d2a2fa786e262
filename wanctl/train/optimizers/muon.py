"""Muon for matrices and kernels, AdamW for everything else, as one optimizer.

Muon replaces the momentum of a matrix by the nearest matrix whose singular values are equal
(K. Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024). `torch.optim.Muon`
takes matrices only; here a kernel (O, C, kt, kh, kw) is the matrix (O, C * kt * kh * kw) that it
is for its convolution. Steps can be skipped without a read from the device, as fused AdamW does.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Quintic polynomial a*s + b*s^3 + c*s^5 of the singular values s, whose slope at 0 is as large as
# possible: five times applied, it brings [0.003, 1] to about [0.7, 1.2] (Jordan 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPS = 1e-7
# Root mean square of AdamW's steps in units of the learning rate (arXiv 2502.16982, section 2.2).
ADAMW_RMS = 0.2


def orthogonalise(matrix: Tensor) -> Tensor:
    """Bring all singular values of a matrix near 1, by Newton-Schulz iterations.

    Args:
        matrix: (rows, columns) in bfloat16 or wider; the products are computed in its dtype.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if wide is not matrix else x


def step_scale(rows: int, columns: int) -> float:
    """Factor of the learning rate for a matrix, which makes its steps as large as AdamW's.

    An orthogonal matrix has the root mean square 1 / sqrt(max(rows, columns)); times
    0.2 * sqrt(max(rows, columns)) it has AdamW's (arXiv 2502.16982, equation 4), so that one
    learning rate serves matrices of all sizes and is of the order of AdamW's. Jordan's factor,
    sqrt(max(1, rows / columns)), takes 4 to 8 times the rate for the kernels of a VAE of 16
    channels: 67 steps on images give 20.6 dB with 1.2e-3 here and 20.5 dB with 5e-3 there.
    """
    return ADAMW_RMS * math.sqrt(max(rows, columns))


class Muon(torch.optim.Optimizer):
    """Muon over some groups and fused AdamW over others.

    Args:
        matrices: groups of parameters with at least two axes, with `weight_decay` each.
        rest: groups for AdamW, with `weight_decay` each, and `lr_factor` where their learning
            rate differs.
        lr: learning rate of Muon.
        momentum: decay rate of Muon's momentum, which is Nesterov's.
        betas: decay rates of AdamW's moments.

    Attributes:
        found_inf: scalar on the device; a step with 1 there changes nothing. None: no step is
            skipped.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        matrices: Sequence[dict[str, Any]],
        rest: Sequence[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        betas: tuple[float, float],
    ) -> None:
        # AdamW refuses to be without parameters; this one is never in a group of a step.
        unused = torch.nn.Parameter(torch.zeros(()))
        self._adamw = torch.optim.AdamW(
            [*rest, {"params": [unused]}], lr=lr, betas=betas, fused=True
        )
        groups = [{**group, "method": "muon", "momentum": momentum} for group in matrices]
        groups += [{**group, "method": "adamw"} for group in self._adamw.param_groups[:-1]]
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do one step; `closure` is not supported."""
        del closure
        for group in self.param_groups:
            if group["method"] == "muon":
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step_matrix(parameter, group)
        self._adamw.param_groups = [g for g in self.param_groups if g["method"] == "adamw"]
        self._adamw.state = self.state  # one state for both, so that it is saved as one
        self._adamw.found_inf = self.found_inf  # pyright: ignore[reportAttributeAccessIssue]
        self._adamw.step()

    def _step_matrix(self, parameter: Tensor, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        assert parameter.grad is not None
        gradient = parameter.grad.flatten(1)
        rows, columns = gradient.shape
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(
                parameter, memory_format=torch.contiguous_format
            )
        buffer = state["momentum_buffer"].view(rows, columns)

        if self.found_inf is not None:
            gradient = torch.where(self.found_inf.bool(), 0, gradient)  # 0 * NaN would be NaN
        buffer.lerp_(gradient, self._unless_skipped(1 - momentum, 0, buffer))
        update = gradient.lerp(buffer, momentum)
        # bfloat16 suffices (Jordan 2024), but CPUs without bf16 units are slower with it.
        dtype = torch.bfloat16 if update.is_cuda else torch.float32
        update = orthogonalise(update.to(dtype)).to(parameter.dtype).view_as(parameter)
        parameter.mul_(self._unless_skipped(1 - lr * group["weight_decay"], 1, parameter))
        scale = -lr * step_scale(rows, columns)
        parameter.addcmul_(update, self._unless_skipped(scale, 0, parameter))

    def _unless_skipped(self, value: float, otherwise: float, like: Tensor) -> Tensor:
        """Scalar of the dtype and device of `like`: `otherwise` in a step that is skipped."""
        chosen = torch.full((), value, dtype=like.dtype, device=like.device)
        if self.found_inf is None:
            return chosen
        return torch.where(self.found_inf.bool(), torch.full_like(chosen, otherwise), chosen)
