"""SOLVERS: numerical methods that integrate the velocity from noise to video.

Every solver is one generator function `solver(x, sigmas, noise)`:

    x:        fp32 noise at sigmas[0], any shape
    sigmas:   (N+1,) falling, ending in 0; may start at 1
    noise:    draws standard normal noise of x's shape; only stochastic solvers call it
    yields:   x and the step number i, to be sent the velocity at sigmas[i], x's shape
    returns:  x at the last sigma

It is a coroutine and does not call the model, so its driver may stop between two steps and change
the model. To add one, write the function and add it to SOLVERS; the contract test measures its
order. In the formulas m is the predicted clean video x - sigma * v, alpha is 1 - sigma and lambda
is log(alpha / sigma).
"""

import math
from collections.abc import Callable, Generator

from torch import Tensor

from wanctl.errors import UserError, unknown

VelocityFn = Callable[[Tensor, int], Tensor]
"""(latents x, step number) -> velocity, x's shape."""
SolverCoroutine = Generator[tuple[Tensor, int], Tensor, Tensor]
NoiseFn = Callable[[], Tensor]
"""Standard normal noise of x's shape, other numbers at every call."""
Solver = Callable[[Tensor, Tensor, NoiseFn], SolverCoroutine]


def euler(x: Tensor, sigmas: Tensor, _noise: NoiseFn) -> SolverCoroutine:
    """Euler's method, order 1: follow the tangent."""
    sigma = sigmas.tolist()
    for i in range(len(sigma) - 1):
        v = yield x, i
        x = x + (sigma[i + 1] - sigma[i]) * v
    return x


def dpmpp_2m(x: Tensor, sigmas: Tensor, _noise: NoiseFn) -> SolverCoroutine:
    """DPM-Solver++(2M), order 2 (arXiv 2211.01095, algorithm 2), for the flow's alpha and sigma.

    The first step has no history and the last one has infinite length: both are first order.
    """
    sigma, lam = sigmas.tolist(), _log_snr(sigmas)
    last = len(sigma) - 2
    m_before = None
    for i in range(last + 1):
        v = yield x, i
        m = x - sigma[i] * v
        h = lam[i + 1] - lam[i]
        alpha_phi = (1 - sigma[i + 1]) * math.expm1(-h)
        d = m
        if m_before is not None and i < last:
            r = (lam[i] - lam[i - 1]) / h
            d = m + (m - m_before) / (2 * r)
        x = (sigma[i + 1] / sigma[i]) * x - alpha_phi * d
        m_before = m
    return x


def unipc(x: Tensor, sigmas: Tensor, _noise: NoiseFn) -> SolverCoroutine:
    """UniPC-2 with B2(h) = e^h - 1, predicting data (arXiv 2302.04867, section 3).

    Each step first corrects x with the velocity just computed, without another model evaluation,
    and then predicts the next x from the corrected one.
    """
    sigma, lam = sigmas.tolist(), _log_snr(sigmas)
    steps = len(sigma) - 1
    ms: list[Tensor] = []  # m of the last two steps, the newest last
    x_before, order = x, 0
    for i in range(steps):
        v = yield x, i
        m = x - sigma[i] * v
        if order:
            x = _unipc_correct(x_before, (*ms, m), sigma[: i + 1], lam[: i + 1], order)
        ms = [*ms[-1:], m]
        order = min(2, i + 1, steps - i)

        h = lam[i + 1] - lam[i]
        d = m
        if order == 2:
            r = (lam[i - 1] - lam[i]) / h
            d = m + (ms[0] - m) / (2 * r)
        x_before = x
        x = (sigma[i + 1] / sigma[i]) * x - (1 - sigma[i + 1]) * math.expm1(-h) * d
    return x


def lcm(x: Tensor, sigmas: Tensor, noise: NoiseFn) -> SolverCoroutine:
    """Multistep consistency sampling: the predicted video m, then fresh noise at the next level.

    For models that were distilled to predict the video in one step (arXiv 2303.01469, algorithm 1;
    arXiv 2310.04378); of other models each step only returns the mean of all possible videos.
    """
    sigma = sigmas.tolist()
    for i in range(len(sigma) - 1):
        v = yield x, i
        x = x - sigma[i] * v
        if sigma[i + 1] > 0:
            x = (1 - sigma[i + 1]) * x + sigma[i + 1] * noise()
    return x


def _unipc_correct(
    x: Tensor, ms: tuple[Tensor, ...], sigma: list[float], lam: list[float], order: int
) -> Tensor:
    """Repeat the step to sigma[-1] from its corrected start `x`, with m at its end known."""
    m, m_new = ms[-2], ms[-1]
    h = lam[-1] - lam[-2]
    e = math.expm1(-h)
    if order == 1:
        d = (m_new - m) / 2
    else:
        r = (lam[-3] - lam[-2]) / h
        k = e / -h - 1
        b1, b2 = k / e, 2 * (k / -h - 0.5) / e
        # Solves [[1, 1], [r, 1]] rho = [b1, b2]; written so that r = -inf gives (0, b1).
        rho1 = (b1 - b2) / (1 - r)
        d = rho1 * (ms[-3] - m) / r + (b1 - rho1) * (m_new - m)
    return (sigma[-1] / sigma[-2]) * x - (1 - sigma[-1]) * e * (m + d)


def _log_snr(sigmas: Tensor) -> list[float]:
    """log(alpha / sigma) as Python floats: +-inf at the ends turn into the formulas' limits.

    expm1(-inf) is -1 and a difference divided by an infinite r is 0, so no NaN can arise and no
    end needs a special case.
    """
    return [
        math.inf if s <= 0 else -math.inf if s >= 1 else math.log((1 - s) / s)
        for s in sigmas.tolist()
    ]


SOLVERS: dict[str, Solver] = {solver.__name__: solver for solver in (euler, unipc, dpmpp_2m, lcm)}
STOCHASTIC = frozenset({lcm.__name__})
"""Solvers that draw noise at every step, after which no earlier velocity holds."""


def get_solver(name: str) -> Solver:
    """Look a solver up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in SOLVERS:
        raise UserError(f"solver: {unknown('solver', name, SOLVERS)}")
    return SOLVERS[name]


def solve(
    solver: Solver, velocity: VelocityFn, x: Tensor, sigmas: Tensor, noise: NoiseFn
) -> Tensor:
    """Run a solver with a velocity function to x at the last sigma, x's shape."""
    coroutine = solver(x, sigmas, noise)
    try:
        x, step = next(coroutine)
        while True:
            x, step = coroutine.send(velocity(x, step))
    except StopIteration as end:
        return end.value
