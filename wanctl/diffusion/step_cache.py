"""Steps that take over the velocity of the step before, where it would hardly have changed.

Along straight flows the velocity is constant, and most of a sample's path is nearly straight. How
much a velocity is going to change is estimated without the model: by how far the latents have
moved, times how much the velocity changed per such distance between the last two steps that were
computed (the rate of EasyCache, arXiv 2507.02860). Estimates add up from step to step, and above
the threshold the model is asked again. Nothing has to be calibrated for a model or a number of
steps. It changes the video: the demo's model at 20 steps, threshold 0.05: 7 steps taken over,
46 dB PSNR to the uncached video; 0.1: 13 and 41 dB; 0.2: 17 and 35 dB.
"""

from torch import Tensor

from wanctl.diffusion.solvers import OnStep, Solver, Velocity, get_solver

# Early steps decide what is shown; the last one decides the finest detail.
ALWAYS_FIRST = 0.2
ALWAYS_LAST = 1


def with_step_cache(solver: str, threshold: float) -> Solver:
    """A row of SOLVERS whose steps may take a velocity over; at threshold 0 the row itself."""
    solve = get_solver(solver)
    if not threshold:
        return solve

    def solve_with_cache(
        velocity: Velocity, noise: Tensor, sigmas: Tensor, on_step: OnStep | None
    ) -> Tensor:
        return solve(StepCache(velocity, len(sigmas) - 1, threshold), noise, sigmas, on_step)

    return solve_with_cache


class StepCache:
    """Stands between a solver and the model for one sample.

    Args:
        velocity: what is asked where nothing is taken over.
        steps: how many there are.
        threshold: relative change that may add up; 0 asks the model at every step.
    """

    def __init__(self, velocity: Velocity, steps: int, threshold: float) -> None:
        self._velocity = velocity
        self._threshold = threshold
        self._skippable = range(max(2, round(steps * ALWAYS_FIRST)), steps - ALWAYS_LAST)
        self._x: Tensor | None = None  # latents of the last step
        self._asked: tuple[Tensor, Tensor] | None = None  # latents and velocity, last computed
        self._rate: float | None = None
        self._change = 0.0
        self.skipped = 0

    def __call__(self, x: Tensor, step: int) -> Tensor:
        """The velocity of a step."""
        if self._asked is not None and self._may_skip(x, step):
            self.skipped += 1
            self._x = x
            return self._asked[1]
        v = self._velocity(x, step)
        if self._threshold:
            self._remember(x, v)
        return v

    def _may_skip(self, x: Tensor, step: int) -> bool:
        if step not in self._skippable or self._rate is None or self._x is None:
            return False
        assert self._asked is not None
        self._change += self._rate * _size(x - self._x) / _size(self._asked[1])
        return self._change < self._threshold

    def _remember(self, x: Tensor, v: Tensor) -> None:
        if self._asked is not None:
            moved = _size(x - self._asked[0])
            self._rate = _size(v - self._asked[1]) / moved if moved else None
        self._x, self._asked, self._change = x, (x, v), 0.0


def _size(x: Tensor) -> float:
    return x.float().abs().mean().item()
