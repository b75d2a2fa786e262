"""Reuse the velocity of an earlier step where it would hardly have changed.

Along straight flows the velocity is constant, and most of a sample's path is nearly straight. The
change of the velocity is estimated without the model: the distance that the latents have moved,
times the change of the velocity per such distance between the last two computed steps (the rate of
EasyCache, arXiv 2507.02860). Estimates add up from step to step, and above the threshold the model
is evaluated again. Nothing has to be calibrated for a model or a number of steps. It changes the
video: the demo's model at 20 steps, threshold 0.05: 7 steps reused, 46 dB PSNR to the uncached
video; 0.1: 13 and 41 dB; 0.2: 17 and 35 dB.
"""

from collections.abc import Collection, Sequence

from torch import Tensor

from wanctl.diffusion.phases import StepRule
from wanctl.diffusion.solvers import NoiseFn, Solver, SolverCoroutine, get_solver

# Early steps decide what is shown; the last one decides the finest detail.
ALWAYS_FIRST = 0.2
ALWAYS_LAST = 1


def with_step_cache(solver: str, threshold: float, resets: Collection[int] = ()) -> Solver:
    """A row of SOLVERS whose steps may reuse a velocity; at threshold 0 the row itself.

    Args:
        solver: name of the row.
        threshold: see `StepCache`.
        resets: steps at which the cache is emptied, from `velocity_changes`.
    """
    solve = get_solver(solver)
    if not threshold:
        return solve

    def solve_with_cache(x: Tensor, sigmas: Tensor, noise: NoiseFn) -> SolverCoroutine:
        cache = StepCache(len(sigmas) - 1, threshold)
        coroutine = solve(x, sigmas, noise)
        try:
            x, step = next(coroutine)
            while True:
                if step in resets:
                    cache = StepCache(len(sigmas) - 1, threshold)
                v = cache.reuse(x, step)
                if v is None:
                    v = yield x, step
                    cache.update(x, v)
                x, step = coroutine.send(v)
        except StopIteration as end:
            return end.value

    return solve_with_cache


def velocity_changes(rules: Sequence[StepRule]) -> frozenset[int]:
    """Steps from which on the velocity is another function, so that no earlier one may be reused.

    Args:
        rules: one for each step; another expert, LoRA strength or guide scale is another function.
    """
    return frozenset(i for i in range(1, len(rules)) if rules[i] != rules[i - 1])


class StepCache:
    """The velocities of one sample, between its solver and the model.

    Args:
        steps: number of steps of the sample.
        threshold: relative change of the velocity that may add up; 0 reuses nothing.
    """

    def __init__(self, steps: int, threshold: float) -> None:
        self._threshold = threshold
        self._skippable = range(max(2, round(steps * ALWAYS_FIRST)), steps - ALWAYS_LAST)
        self._x: Tensor | None = None  # latents of the last step
        self._computed: tuple[Tensor, Tensor] | None = None  # latents and velocity, last computed
        self._rate: float | None = None
        self._change = 0.0

    def reuse(self, x: Tensor, step: int) -> Tensor | None:
        """The last computed velocity if it serves this step; None if the model has to run."""
        if self._computed is None or not self._may_skip(x, step):
            return None
        self._x = x
        return self._computed[1]

    def update(self, x: Tensor, v: Tensor) -> None:
        """Record that the model gave velocity `v` at latents `x`."""
        if self._computed is not None:
            moved = _size(x - self._computed[0])
            self._rate = _size(v - self._computed[1]) / moved if moved else None
        self._x, self._computed, self._change = x, (x, v), 0.0

    def _may_skip(self, x: Tensor, step: int) -> bool:
        if step not in self._skippable or self._rate is None or self._x is None:
            return False
        assert self._computed is not None
        self._change += self._rate * _size(x - self._x) / _size(self._computed[1])
        return self._change < self._threshold


def _size(x: Tensor) -> float:
    return x.float().abs().mean().item()
