"""Schedules against the tables of the official schedulers, digit for digit."""

import math

import pytest
import torch

from wanctl.diffusion.experts import high_steps
from wanctl.diffusion.schedules import levels_schedule, make_schedule
from wanctl.diffusion.solvers import SOLVERS
from wanctl.errors import UserError
from wanctl.model.noise_levels import levels_of_timesteps, trigflow_levels

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


LIGHTNING = levels_of_timesteps((1000, 750, 500, 250), shift=5)
LIGHTNING_8 = levels_of_timesteps(range(1000, 0, -125), shift=5)
# Levels of few-step models, from what their authors write, and the published timesteps.
FEW_STEPS = {
    "self-forcing": (LIGHTNING, [1000, 937.5, 833.33, 625]),
    "lightning, 8 steps": (LIGHTNING_8, [1000, 972.22, 937.5, 892.86, 833.33, 750, 625, 416.67]),
    "causvid": (levels_of_timesteps((1000, 757, 522)), [1000, 757, 522]),
    "causvid, warped": (
        levels_of_timesteps((1000, 750, 500, 250), shift=8), [1000, 960, 888.89, 727.27]
    ),
    "causvid of LightX2V": (
        levels_of_timesteps((999, 934, 862, 756, 603, 410, 250, 140, 74)),
        [999, 934, 862, 756, 603, 410, 250, 140, 74],
    ),
    "causal-forcing++, 2 steps": (levels_of_timesteps((1000, 500), shift=5), [1000, 833.33]),
    "fastwan": (levels_of_timesteps((1000, 757, 522)), [1000, 757, 522]),
    "sfwan a14b": (
        levels_of_timesteps((1000, 850, 700, 550, 350, 275, 200, 125)),
        [1000, 850, 700, 550, 350, 275, 200, 125],
    ),
    "krea": (levels_of_timesteps((1000, 937, 833, 625)), [1000, 937, 833, 625]),
    "rcm": (
        trigflow_levels((math.atan(80), 1.5, 1.4, 1.0)), [987.65, 933.78, 852.90, 608.98]
    ),
    "rcm, 2 steps": (trigflow_levels((math.atan(80), 1.5)), [987.65, 933.78]),
    "rcm, image to video": (trigflow_levels((math.atan(200),)), [995.02]),
}  # fmt: skip


@pytest.mark.parametrize("name", FEW_STEPS)
def test_few_step_models_get_the_published_timesteps_unrounded(name):
    levels, published = FEW_STEPS[name]
    schedule = levels_schedule(levels)
    assert schedule.timesteps.dtype == torch.float32
    assert schedule.timesteps.tolist() == pytest.approx(published, abs=0.006)
    assert schedule.sigmas.dtype == torch.float32
    assert schedule.sigmas.tolist() == pytest.approx([*levels, 0], rel=1e-7)
    assert schedule.noise_scale == levels[0]


def test_fractions_of_timesteps_are_kept_and_no_level_is_off_by_rounding():
    assert levels_schedule(LIGHTNING).timesteps[[0, 1, 3]].tolist() == [1000, 937.5, 625]
    assert levels_schedule(LIGHTNING_8).timesteps[5].item() == 750
    assert levels_of_timesteps((1000, 757, 522)) == (1.0, 0.757, 0.522)


@pytest.mark.parametrize("boundary", [0.875, 0.9])
def test_lightning_divides_its_steps_evenly_between_the_experts(boundary):
    assert high_steps(levels_schedule(LIGHTNING).timesteps, boundary) == 2


def test_causvids_list_is_shift_8_of_shares_of_the_path():
    """The published 757 and 522 are not to be shifted again."""
    assert levels_of_timesteps((280, 120), shift=8) == pytest.approx((0.757, 0.522), abs=5e-4)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((), "need falling levels"),
        ((1.0, 0.5, 0.0), "without the final 0"),
        ((1.0, 0.5, 0.5), "need falling levels"),
        ((0.5, 1.0), "need falling levels"),
        ((1.0, float("nan")), "need falling levels"),
        ((1000, 937.5), "shares of 1, not of 1000: write 937.5 as 0.9375"),
    ],
)
def test_impossible_levels_are_refused(levels, message):
    with pytest.raises(UserError, match=message):
        levels_schedule(levels)
