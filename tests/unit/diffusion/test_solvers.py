"""Every solver against an ODE whose solution is known; UniPC and DPM++ against official numbers."""

import itertools
import math

import pytest
import torch

from wanctl.diffusion import solvers
from wanctl.diffusion.schedules import make_schedule
from wanctl.diffusion.solvers import SOLVERS, STOCHASTIC, get_solver
from wanctl.errors import UserError

# Slope of log error over log steps; a new solver states its own here.
ORDER = {"euler": 1, "unipc": 2, "dpmpp_2m": 2}
# Scalar runs of the official schedulers: v = 0.3 x + t / 1000, x = 1, five steps, shift 3.
OFFICIAL = {
    "unipc": [0.90004873, 0.77935290, 0.63473219, 0.46544963, 0.22235136],
    "dpmpp_2m": [0.90000004, 0.77486014, 0.62462795, 0.45174450, 0.21023449],
}
MEAN, STD = 0.4, 0.5
# Steps of a stochastic solver end in a distribution, not at a point, so that no order can be
# measured; `test_lcm_*` measure that distribution instead.
DETERMINISTIC = [name for name in SOLVERS if name not in STOCHASTIC]


def draw_like(x, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(x.shape, generator=generator, dtype=x.dtype)


def solve(solver, velocity, x, sigmas):
    return solvers.solve(solver, velocity, x, sigmas, draw_like(x))


def gaussian_error(name, steps, first=1.0):
    """Largest error at sigma 0 where clean values are normal with MEAN and STD.

    Then E[x0 | x] is linear in x, and the flow keeps (x - alpha MEAN) / sqrt(alpha^2 STD^2 +
    sigma^2) constant.
    """
    sigmas = torch.linspace(first, 0, steps + 1, dtype=torch.float64)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)

    def spread(sigma):
        return math.sqrt((1 - sigma) ** 2 * STD**2 + sigma**2)

    def velocity(x, i):
        sigma = sigmas[i].item()
        gain = (1 - sigma) * STD**2 / spread(sigma) ** 2
        x0 = MEAN + gain * (x - (1 - sigma) * MEAN)
        return (x - x0) / sigma

    exact = MEAN + STD * (x - (1 - first) * MEAN) / spread(first)
    return (solve(SOLVERS[name], velocity, x, sigmas) - exact).abs().max().item()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_error_falls_at_the_order_the_solver_claims(name):
    errors = [gaussian_error(name, steps) for steps in (80, 160, 320)]
    slopes = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert min(slopes) > ORDER[name] - 0.35
    assert errors[-1] < 0.01


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("first", [1.0, 0.999])
def test_few_steps_from_pure_noise_stay_finite(name, steps, first):
    assert gaussian_error(name, steps, first) <= 1.01


@pytest.mark.parametrize("name", SOLVERS)
def test_one_step_lands_on_the_predicted_video(name):
    sigmas = make_schedule(name, 1, 5.0).sigmas
    x, v = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.25])
    assert torch.allclose(solve(SOLVERS[name], lambda *_: v, x, sigmas), x - sigmas[0] * v)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_constant_velocity_is_followed_exactly(name):
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(64, generator=generator) for _ in range(2))
    schedule = make_schedule(name, 6, 5.0)
    start = (1 - schedule.sigmas[0]) * x0 + schedule.sigmas[0] * noise
    end = solve(SOLVERS[name], lambda *_: noise - x0, start, schedule.sigmas)
    assert torch.allclose(end, x0, atol=2e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_runs_repeat_bit_for_bit_and_leave_the_noise_alone(name):
    schedule = make_schedule(name, 7, 3.0)
    noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    kept = noise.clone()
    first, second = (
        solve(SOLVERS[name], lambda x, i: x.sin() * (i + 1), noise, schedule.sigmas)
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(noise, kept)
    assert first.dtype == torch.float32


@pytest.mark.parametrize("name", SOLVERS)
def test_the_model_is_evaluated_once_per_step(name):
    schedule = make_schedule(name, 5, 3.0)
    requested = []
    solve(SOLVERS[name], lambda x, i: requested.append(i) or x, torch.ones(2), schedule.sigmas)
    assert requested == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", SOLVERS)
def test_two_runs_may_be_followed_in_turns(name):
    sigmas = make_schedule(name, 4, 3.0).sigmas
    starts = torch.ones(2), torch.full((2,), -2.0)
    expected = [solve(SOLVERS[name], lambda x, i: x.sin() * i, x, sigmas) for x in starts]
    runs = [SOLVERS[name](x, sigmas, draw_like(x)) for x in starts]
    requested, ends = [next(run) for run in runs], [None, None]
    for _ in range(4):
        for number, run in enumerate(runs):
            x, i = requested[number]
            try:
                requested[number] = run.send(x.sin() * i)
            except StopIteration as end:
                ends[number] = end.value
    assert all(torch.equal(end, wanted) for end, wanted in zip(ends, expected, strict=True))


@pytest.mark.parametrize("name", OFFICIAL)
def test_trajectories_are_the_official_ones(name):
    schedule = make_schedule(name, 5, 3.0)
    path = []

    def velocity(x, i):
        path.append(x.item())
        return 0.3 * x + schedule.timesteps[i] / 1000

    path.append(solve(SOLVERS[name], velocity, torch.ones(1), schedule.sigmas).item())
    # Measured 6e-8: the official code computes the scalars in float32, we in float64.
    assert path[1:] == pytest.approx(OFFICIAL[name], abs=1.2e-7)


def consistent(sigmas, seen=None):
    """Velocity of a model that predicts the video at the end of the flow, as distilled ones do."""

    def velocity(x, i):
        sigma = sigmas[i].item()
        if seen is not None:
            seen.append(x)
        spread = math.sqrt((1 - sigma) ** 2 * STD**2 + sigma**2)
        return (x - MEAN - STD * (x - (1 - sigma) * MEAN) / spread) / sigma

    return velocity


def test_lcm_has_the_distribution_of_every_level_and_of_the_video():
    sigmas = torch.tensor([1.0, 0.9375, 5 / 6, 0.625, 0.0], dtype=torch.float64)
    x = draw_like(torch.empty(200_000, dtype=torch.float64), seed=1)()
    seen = []
    seen.append(solve(SOLVERS["lcm"], consistent(sigmas, seen), x, sigmas))
    for sigma, path in zip(sigmas.tolist(), seen, strict=True):
        spread = math.sqrt((1 - sigma) ** 2 * STD**2 + sigma**2)
        assert path.mean().item() == pytest.approx((1 - sigma) * MEAN, abs=0.01)  # 0.002 expected
        assert path.std().item() == pytest.approx(spread, rel=0.01)
    assert abs(torch.corrcoef(torch.stack((seen[0], seen[-1])))[0, 1]) < 0.05  # fresh noise


def test_lcm_draws_noise_between_steps_only_and_ends_on_the_predicted_video():
    sigmas, drawn = torch.tensor([1.0, 0.5, 0.25, 0.0]), []

    def noise():
        drawn.append(float(len(drawn) + 1))
        return torch.full((2,), drawn[-1])

    path = []

    def velocity(x, i):
        path.append(x.tolist())
        return torch.full((2,), 2.0)

    end = solvers.solve(SOLVERS["lcm"], velocity, torch.full((2,), 3.0), sigmas, noise)
    # videos: 3 - 2 = 1, then 1 - 0.5 * 2 = 0, then 0.5 - 0.25 * 2 = 0
    assert path == [[3.0] * 2, [0.5 * 1 + 0.5 * 1.0] * 2, [0.75 * 0 + 0.25 * 2.0] * 2]
    assert drawn == [1.0, 2.0]
    assert end.tolist() == [0.0, 0.0]


def test_unknown_solver_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'euler'"):
        get_solver("eulr")
