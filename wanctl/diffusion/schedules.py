"""The noise levels of a sample: the official schedules, bit for bit, or levels in full."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wanctl.diffusion.solvers import get_solver
from wanctl.errors import UserError
from wanctl.model.noise_levels import levels_problem, shift_sigmas
from wanctl.model.variants import NUM_TRAIN_TIMESTEPS

# The official UniPC starts at the float32 neighbour of 0.999, the official DPM++ at 1 exactly, and
# so do the models that `lcm` is for.
_FIRST_SIGMA = {"dpmpp_2m": 1.0, "lcm": 1.0}
_DEFAULT_FIRST_SIGMA = float(np.float32(0.999))


@dataclass(frozen=True)
class Schedule:
    """Noise levels of a run.

    Attributes:
        sigmas: (N+1,) fp32, falling; the last is 0. The solver uses these.
        timesteps: (N,) the model's input, 1000 * sigma: int64, truncated, in the official
            schedules; fp32 and not rounded for levels in full.
        noise_scale: factor of the initial noise.
    """

    sigmas: Tensor
    timesteps: Tensor
    noise_scale: float = 1.0

    @property
    def steps(self) -> int:
        """Number of solver steps N."""
        return len(self.timesteps)


def make_schedule(solver: str, steps: int, shift: float) -> Schedule:
    """The schedule the official code pairs with a solver; Euler takes UniPC's.

    Args:
        solver: a row of SOLVERS.
        steps: model evaluations (twice as many with guidance).
        shift: moves the levels towards noise; applied once, here.

    Raises:
        UserError: no such solver, no steps, or a shift that is not positive or far too large.
    """
    get_solver(solver)
    if steps < 1:
        raise UserError(f"steps: got {steps}; must be at least 1")
    if not shift > 0:
        raise UserError(f"shift: got {shift}; must be above 0")
    first = _FIRST_SIGMA.get(solver, _DEFAULT_FIRST_SIGMA)
    u = np.linspace(first, 0, steps + 1, dtype=np.float64)[:-1]
    sigmas = shift_sigmas(u, shift)
    # Truncated from the float64 values: rounding to float32 first would raise some timesteps.
    timesteps = torch.from_numpy((sigmas * NUM_TRAIN_TIMESTEPS).astype(np.int64))
    sigmas = np.append(sigmas, 0).astype(np.float32)
    if (np.diff(sigmas) >= 0).any():
        raise UserError(f"shift: got {shift}; it crowds {steps} steps into one noise level")
    return Schedule(torch.from_numpy(sigmas), timesteps)


def levels_schedule(levels: Sequence[float]) -> Schedule:
    """The schedule of levels in full, as step-distilled models are trained for.

    Their samplers keep the fractions of timesteps (937.5), and where the first level is below 1 the
    path begins at the point of this level without video: the noise times the level (rCM).

    Args:
        levels: falling, 1 to above 0; the final 0 is added.

    Raises:
        UserError: there are none, or they do not fall from at most 1 to above 0.
    """
    if problem := levels_problem(levels):
        raise UserError(f"levels: {problem}")
    sigmas = torch.tensor([*levels, 0.0], dtype=torch.float64)
    timesteps = (sigmas[:-1] * NUM_TRAIN_TIMESTEPS).float()
    return Schedule(sigmas.float(), timesteps, noise_scale=levels[0])
