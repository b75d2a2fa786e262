"""Schedules against the tables of the official schedulers, digit for digit."""

import pytest
import torch

from wanctl.diffusion.schedules import make_schedule
from wanctl.diffusion.solvers import SOLVERS
from wanctl.errors import UserError

TIMESTEPS = [
    ("unipc", 20, 5.0, [999, 989, 978, 965, 952, 937, 920, 902, 882, 859,
                        833, 803, 768, 728, 681, 624, 555, 468, 356, 208]),
    ("unipc", 4, 5.0, [999, 937, 833, 624]),
    ("unipc", 5, 3.0, [999, 922, 817, 666, 428]),
    ("dpmpp_2m", 5, 3.0, [1000, 923, 818, 666, 428]),
]  # fmt: skip
SIGMAS = [
    ("unipc", 4, 5.0, ".9997998476 .9372654557 .8330553770 .6246873736 0"),
    ("unipc", 5, 3.0, ".9996664524 .9227216840 .8178097010 .6662961245 .4282652140 0"),
]


@pytest.mark.parametrize(("solver", "steps", "shift", "expected"), TIMESTEPS)
def test_timesteps_are_the_official_ones(solver, steps, shift, expected):
    assert make_schedule(solver, steps, shift).timesteps.tolist() == expected


def test_fifty_steps_end_as_the_official_ones():
    assert make_schedule("unipc", 50, 5.0).timesteps[-6:].tolist() == [405, 356, 302, 241, 172, 92]


@pytest.mark.parametrize(("solver", "steps", "shift", "expected"), SIGMAS)
def test_sigmas_are_the_official_float32_values(solver, steps, shift, expected):
    expected = torch.tensor([float(number) for number in expected.split()])
    assert torch.equal(make_schedule(solver, steps, shift).sigmas, expected)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_every_schedule_falls_from_noise_to_nothing(solver, steps):
    schedule = make_schedule(solver, steps, 5.0)
    assert schedule.steps == steps
    assert schedule.sigmas.dtype == torch.float32
    assert schedule.timesteps.dtype == torch.int64
    assert (schedule.sigmas.diff() < 0).all()
    assert 0.99 < schedule.sigmas[0] <= 1
    assert schedule.sigmas[-1] == 0


def test_euler_visits_the_levels_of_unipc():
    euler, unipc = (make_schedule(solver, 7, 5.0) for solver in ("euler", "unipc"))
    assert torch.equal(euler.sigmas, unipc.sigmas)
    assert torch.equal(euler.timesteps, unipc.timesteps)


@pytest.mark.parametrize(
    ("solver", "steps", "shift", "message"),
    [
        ("unipcc", 5, 3.0, "did you mean 'unipc'"),
        ("unipc", 0, 3.0, "steps: got 0"),
        ("unipc", 5, 0.0, "shift: got 0.0; must be above 0"),
        ("unipc", 5, float("nan"), "shift: got nan; must be above 0"),
        ("unipc", 50, 1e9, "crowds 50 steps"),
    ],
)
def test_impossible_schedules_are_refused(solver, steps, shift, message):
    with pytest.raises(UserError, match=message):
        make_schedule(solver, steps, shift)
