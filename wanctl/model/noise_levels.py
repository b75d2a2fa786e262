"""Noise levels of few-step models, as their authors write them -> levels of our path. Torch-free.

A level is a share: 1 is noise, 0 is video; the transformer's timestep is 1000 times the level.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Levels = TypeVar("Levels", float, "Tensor", "np.ndarray")


def shift_sigmas(sigmas: Levels, shift: float) -> Levels:
    """Noise levels moved towards noise by s*u / (1 + (s-1)*u) (arXiv 2403.03206, section 5.3.2).

    It keeps 0 and 1 and the order of the levels between.
    """
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def levels_of_timesteps(timesteps: Iterable[float], shift: float = 1.0) -> tuple[float, ...]:
    """Levels of a list of timesteps, 0 to 1000, e.g. 1000, 750, 500, 250 of Self-Forcing.

    Args:
        timesteps: as the model's authors list them.
        shift: moves the levels towards noise ("warps" the list); 1: they are final as listed.
    """
    return tuple(shift_sigmas(t / 1000, shift) for t in timesteps)


def trigflow_levels(angles: Iterable[float]) -> tuple[float, ...]:
    """Levels of angles of TrigFlow, x = cos(t) * video + sin(t) * noise (arXiv 2410.11081).

    Divided by cos(t) + sin(t), x is a point of our path at level sin(t) / (cos(t) + sin(t)).

    Args:
        angles: in radians, 0 to pi/2; rCM begins at atan(sigma_max).
    """
    return tuple(math.sin(t) / (math.cos(t) + math.sin(t)) for t in angles)


def levels_problem(levels: Sequence[float]) -> str | None:
    """Why numbers are no noise levels of a sample; None if they are."""
    shown = ", ".join(f"{level:g}" for level in levels)
    if levels and max(levels) > 1:
        return f"got {shown}; levels are shares of 1, not of 1000: write 937.5 as 0.9375"
    falls = all(before > after for before, after in pairwise(levels))
    if not levels or not falls or not levels[-1] > 0:
        return f"got [{shown}]; need falling levels from at most 1 to above 0, without the final 0"
    return None
