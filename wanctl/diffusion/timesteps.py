"""LAWS: the distributions from which training draws noise levels.

Each law is a pure function of a generator and returns values in (0, 1). `shift` then moves them
towards noise: a large video keeps its low-frequency content at noise levels that hide that of a
small one (arXiv 2403.03206, section 5.3.2).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from wanctl.diffusion.flow import shift_sigmas
from wanctl.errors import UserError, unknown

# Distance of every draw from the two ends, where the path is pure video or pure noise.
_MARGIN = 1e-5


def logit_normal(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Sigmoid of a normal: most draws lie in the middle (arXiv 2403.03206, section 3.1)."""
    return torch.sigmoid(mean + std * torch.randn(count, generator=generator))


def uniform(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Uniform in (0, 1); `mean` and `std` are not used."""
    return torch.rand(count, generator=generator)


Law = Callable[[int, float, float, torch.Generator], Tensor]
LAWS: dict[str, Law] = {law.__name__: law for law in (logit_normal, uniform)}


def sample_sigmas(
    law: str,
    count: int,
    *,
    shift: float = 1.0,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator,
) -> Tensor:
    """Draw noise levels.

    Args:
        law: a row of LAWS.
        count: how many.
        shift: 1 leaves the law as it is, more moves it towards noise.
        mean: of the normal of `logit_normal`.
        std: of the normal of `logit_normal`.
        generator: a CPU generator; the only source of randomness.

    Returns:
        (count,) fp32, strictly between 0 and 1.

    Raises:
        UserError: no such law; names the nearest one.
    """
    if law not in LAWS:
        raise UserError(f"timesteps.law: {unknown('law', law, LAWS)}")
    sigmas = shift_sigmas(LAWS[law](count, mean, std, generator), shift)
    return sigmas.clamp(_MARGIN, 1 - _MARGIN)
