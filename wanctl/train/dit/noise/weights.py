"""WEIGHTINGS: factors of the velocity's squared error by noise level.

Each is a function of sigma, (B,) in (0, 1), and returns (B,). The law of the noise levels weights
the levels already by how often it draws them; a weighting comes on top.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wanctl.errors import UserError, unknown

_BELL_FLOOR = math.exp(-0.5)
# The mean of exp(-2 (sigma - 1/2)^2) over all levels, less its value at both ends.
_BELL_MEAN = math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) - _BELL_FLOOR


def none(sigma: Tensor, gamma: float) -> Tensor:  # noqa: ARG001
    """1 at every level."""
    return torch.ones_like(sigma)


def cosmap(sigma: Tensor, gamma: float) -> Tensor:  # noqa: ARG001
    """2 / (pi - 2 pi sigma + 2 pi sigma^2), the density of the law `cosmap` (SD3, section 3.1)."""
    return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma.square()))


def min_snr(sigma: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) on the error of the clean latents (arXiv 2303.09556, equation 10).

    That error is sigma times the velocity's, and SNR = ((1 - sigma) / sigma)^2, so the factor of
    the velocity's squared error is min((1 - sigma)^2, gamma * sigma^2).
    """
    return torch.minimum((1 - sigma).square(), gamma * sigma.square())


def bell(sigma: Tensor, gamma: float) -> Tensor:  # noqa: ARG001
    """exp(-2 (sigma - 1/2)^2) less its value at the ends, with mean 1 over all levels.

    The weighting of DiffSynth-Studio's flow-matching scheduler, with which many Wan LoRAs are
    trained, on the continuous levels.
    """
    return (torch.exp(-2 * (sigma - 0.5).square()) - _BELL_FLOOR) / _BELL_MEAN


WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    weighting.__name__: weighting for weighting in (none, cosmap, min_snr, bell)
}

# Fields of `NoiseOptions` that a weighting uses.
WEIGHTING_KEYS = {"min_snr": ("min_snr_gamma",)}


def loss_weight(name: str, sigma: Tensor, gamma: float) -> Tensor:
    """(B,) factors of the squared error.

    Args:
        name: a row of WEIGHTINGS.
        sigma: (B,) noise levels.
        gamma: upper bound of the signal-to-noise ratio, of `min_snr`.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in WEIGHTINGS:
        raise UserError(f"timesteps.weighting: {unknown('weighting', name, WEIGHTINGS)}")
    return WEIGHTINGS[name](sigma, gamma)
