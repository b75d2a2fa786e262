"""The rule of each step: expert, LoRA strengths and guidance, with and without phases."""

import pytest

from wanctl.diffusion.phases import Phase, StepRule, step_rules
from wanctl.diffusion.schedules import levels_schedule, make_schedule
from wanctl.errors import UserError
from wanctl.model.noise_levels import levels_of_timesteps

LIGHTNING = levels_schedule(levels_of_timesteps((1000, 750, 500, 250), shift=5)).timesteps
EIGHT = levels_schedule(levels_of_timesteps(range(1000, 0, -125), shift=5)).timesteps


def phase(steps=None, expert=None, strengths=1.0, scale=None):
    return Phase(steps, expert, strengths, scale)


def test_without_phases_the_boundary_and_guide_until_decide():
    timesteps = make_schedule("unipc", 10, 5.0).timesteps
    rules = step_rules(timesteps, (3.0, 4.0), boundary=0.9, guide_until=0.6)
    assert [rule.expert for rule in rules] == ["high"] * 4 + ["low"] * 6
    assert [rule.guide_scale for rule in rules] == [4.0] * 4 + [3.0] * 2 + [1.0] * 4
    assert [rule.passes for rule in rules] == [2] * 6 + [1] * 4
    assert {rule.lora_strengths for rule in rules} == {1.0}
    assert {rule.expert for rule in step_rules(timesteps, 3.0)} == {None}


def test_the_cure_for_slow_motion():
    """The first step without the distilled LoRAs and guided, the rest distilled and not guided."""
    phases = (phase(1, "high", 0.0, 3.5), phase(scale=1.0))
    rules = step_rules(LIGHTNING, 1.0, boundary=0.875, phases=phases)
    assert rules == [
        StepRule("high", 0.0, 3.5), StepRule("high", 1.0, 1.0),
        StepRule("low", 1.0, 1.0), StepRule("low", 1.0, 1.0),
    ]  # fmt: skip


def test_a_phase_may_move_the_change_of_experts_and_keeps_the_guidance_of_its_expert():
    phases = (phase(3, "high", (1.0, 0.5)), phase(5, "low", (0.0, 1.0)))
    rules = step_rules(EIGHT, (3.0, 4.0), boundary=0.875, phases=phases)
    assert [rule.transformer for rule in rules] == (
        [("high", (1.0, 0.5))] * 3 + [("low", (0.0, 1.0))] * 5
    )
    assert [rule.guide_scale for rule in rules] == [4.0] * 3 + [3.0] * 5


def test_a_phase_without_an_expert_is_divided_at_the_boundary():
    rules = step_rules(LIGHTNING, 1.0, boundary=0.875, phases=(phase(4, strengths=0.5),))
    assert [rule.expert for rule in rules] == ["high", "high", "low", "low"]


def test_scale_0_is_one_pass():
    assert [step_rules(LIGHTNING, scale)[0].passes for scale in (0, 1, 1.5)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("phases", "boundary", "message"),
    [
        ((phase(1), phase(2)), None, r"phases: have 1 \+ 2 steps, and the sample has 4"),
        ((phase(2), phase(3)), None, r"have 2 \+ 3 steps, and the sample has 4"),
        ((phase(4), phase()), None, r"have 4 \+ the rest steps, and the sample has 4"),
        ((phase(), phase(2)), None, r"phases\.0\.steps: only the last phase"),
        ((phase(1), phase(3, "low")), None, r"phases\.1\.expert: got 'low', and the model is one"),
        (
            (phase(1, "low"), phase(3)), 0.875,
            "phases: step 2 goes back to the high-noise expert; experts change once",
        ),
    ],
)  # fmt: skip
def test_phases_that_are_not_possible_are_refused(phases, boundary, message):
    with pytest.raises(UserError, match=message) as error:
        step_rules(LIGHTNING, 1.0, boundary=boundary, phases=phases)
    assert "\n" not in str(error.value)
