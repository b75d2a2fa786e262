"""LAWS: the distributions from which training draws noise levels.

A law is its quantile function, which turns uniform numbers into noise levels, and its CDF. So the
levels of a step can be spread evenly over the law, and the law can be confined to the noise levels
of one expert, without rejecting draws. `shift` then moves the levels towards noise: a large video
keeps its low-frequency content at noise levels that hide that of a small one (arXiv 2403.03206,
section 5.3.2).

To add a law, write both functions and add a row to LAWS; the contract test compares them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wanctl.errors import UserError, unknown
from wanctl.model.noise_levels import shift_sigmas

# Distance of every draw from the two ends of its range: at 0 and 1 the path is pure video or pure
# noise, at a boundary between experts fp32 could round a level to the other side.
MARGIN = 1e-5
# Halvings of the interval in which the CDF of `mode` is searched: to the last bit of float64.
_BISECTIONS = 54


@dataclass(frozen=True)
class LawOptions:
    """A row of LAWS and its parameters.

    Attributes:
        law: its name.
        mean: of the normal distribution of `logit_normal`.
        std: of the normal distribution of `logit_normal`.
        mode_scale: of `mode`, -1 to 1.75.
    """

    law: str
    mean: float
    std: float
    mode_scale: float


@dataclass(frozen=True)
class Law:
    """One distribution on (0, 1).

    Attributes:
        quantile: uniform numbers, fp64 in [0, 1] -> noise levels.
        cdf: noise levels, fp64 in [0, 1] -> share of the draws below them.
        keys: fields of `LawOptions` that it uses.
    """

    quantile: Callable[[Tensor, LawOptions], Tensor]
    cdf: Callable[[Tensor, LawOptions], Tensor]
    keys: frozenset[str] = frozenset()


def _uniform(values: Tensor, options: LawOptions) -> Tensor:  # noqa: ARG001
    """Quantile function and CDF of the uniform distribution."""
    return values


def _logit_normal_quantile(u: Tensor, options: LawOptions) -> Tensor:
    """Sigmoid of a normal: most draws lie in the middle (arXiv 2403.03206, section 3.1)."""
    return torch.sigmoid(options.mean + options.std * torch.special.ndtri(u))


def _logit_normal_cdf(sigma: Tensor, options: LawOptions) -> Tensor:
    return torch.special.ndtr((torch.logit(sigma) - options.mean) / options.std)


def _mode_quantile(u: Tensor, options: LawOptions) -> Tensor:
    """f(1 - u) for f(u) = 1 - u - s * (cos^2(pi*u/2) - 1 + u) (arXiv 2403.03206, equation 20).

    f falls for -1 <= s <= 2 / (pi - 2), so that f(1 - u), drawn alike, rises. Tails are heavier
    than those of `logit_normal`: with s > 0 the middle is drawn most, with s < 0 the ends.
    """
    return u - options.mode_scale * (torch.sin(math.pi / 2 * u).square() - u)


def _mode_cdf(sigma: Tensor, options: LawOptions) -> Tensor:
    """The inverse of the quantile function, which has no closed form, by bisection."""
    low, high = torch.zeros_like(sigma), torch.ones_like(sigma)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = _mode_quantile(middle, options) < sigma
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _cosmap_quantile(u: Tensor, options: LawOptions) -> Tensor:  # noqa: ARG001
    """1 - 1 / (tan(pi*u/2) + 1): the cosine schedule's log SNR (arXiv 2403.03206, section 3.1)."""
    return 1 - 1 / (torch.tan(math.pi / 2 * u) + 1)


def _cosmap_cdf(sigma: Tensor, options: LawOptions) -> Tensor:  # noqa: ARG001
    return 2 / math.pi * torch.atan2(sigma, 1 - sigma)


LAWS: dict[str, Law] = {
    "logit_normal": Law(
        _logit_normal_quantile, _logit_normal_cdf, frozenset(("mean", "std"))
    ),
    "uniform": Law(_uniform, _uniform),
    "mode": Law(_mode_quantile, _mode_cdf, frozenset(("mode_scale",))),
    "cosmap": Law(_cosmap_quantile, _cosmap_cdf),
}  # fmt: skip


def get_law(name: str) -> Law:
    """Look a law up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in LAWS:
        raise UserError(f"timesteps.law: {unknown('law', name, LAWS)}")
    return LAWS[name]


def sample_sigmas(
    options: LawOptions,
    uniform: Tensor,
    *,
    shift: float = 1.0,
    within: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Noise levels of a law, from uniform numbers.

    Args:
        options: the law.
        uniform: (B,) fp64 in [0, 1), uniformly distributed; the only source of randomness.
        shift: 1 leaves the law as it is, more moves it towards noise.
        within: range to which the shifted law is confined, e.g. that of an expert: the levels
            have the distribution of those draws of the law that fall into it.

    Returns:
        (B,) fp32, at least 1e-5 away from both ends of the range.

    Raises:
        UserError: no such law; names the nearest one.
    """
    law = get_law(options.law)
    low, high = (_cdf(law, options, end, shift) for end in within)
    sigmas = shift_sigmas(law.quantile(low + (high - low) * uniform.double(), options), shift)
    return sigmas.clamp(within[0] + MARGIN, within[1] - MARGIN).float()


def law_mass(options: LawOptions, within: tuple[float, float], *, shift: float = 1.0) -> float:
    """Share of the draws of a shifted law that fall into a range of noise levels.

    Raises:
        UserError: no such law; names the nearest one.
    """
    law = get_law(options.law)
    low, high = (_cdf(law, options, end, shift) for end in within)
    return high - low


def _cdf(law: Law, options: LawOptions, sigma: float, shift: float) -> float:
    unshifted = shift_sigmas(torch.tensor(sigma, dtype=torch.float64), 1 / shift)
    # 1 shifted back may be rounded to above 1
    return law.cdf(unshifted.clamp(0, 1), options).item()
