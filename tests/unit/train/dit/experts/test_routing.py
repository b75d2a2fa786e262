"""Which expert learns when, and from which noise levels."""

import pytest

from wanctl.errors import ProblemsError
from wanctl.train.dit.experts.plan import route_experts
from wanctl.train.dit.experts.routing import ONE_TRANSFORMER, Routing, expert_levels

BUCKETS = [((2, 4, 4), 3.0), ((5, 16, 16), 1.0)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.73])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_expert_has_its_share_of_every_stretch_of_a_run_in_blocks(share, seed):
    routing = Routing(expert_levels(0.9), share, block_steps=4, seed=seed)
    turns = [routing.turn(step) for step in range(4000)]
    blocks = turns[::4]
    assert turns == [name for name in blocks for _ in range(4)]
    high = 0
    for number, name in enumerate(blocks, start=1):
        high += name == "high"
        assert abs(high - share * number) < 1


def test_patterns_begin_elsewhere_with_another_seed():
    patterns = {
        tuple(Routing(expert_levels(0.9), 0.3, 1, seed).turn(step) for step in range(10))
        for seed in range(20)
    }
    assert len(patterns) > 3


def test_the_high_noise_expert_learns_as_often_as_the_law_draws_its_levels(
    options_of_experts, levels
):
    law = levels(law="uniform", shift=2, shift_formula="sqrt_tokens", shift_tokens=8)
    shares = []
    for (frames, rows, columns), _ in BUCKETS:
        shift = 2 * (frames * rows * columns / 4 / 8) ** 0.5
        unshifted = 0.875 / (shift - (shift - 1) * 0.875)
        shares.append(1 - unshifted)
    routing = route_experts(options_of_experts(share=None), law, BUCKETS)
    assert routing.high_share == pytest.approx((3 * shares[0] + shares[1]) / 4)
    assert route_experts(options_of_experts(share=0.2), law, BUCKETS).high_share == 0.2


def test_held_out_losses_are_measured_inside_the_range_of_each_expert():
    routing = Routing(expert_levels(0.9), 0.5)
    assert routing.eval_sigmas("low").tolist() == pytest.approx([0.1125, 0.3375, 0.5625, 0.7875])
    assert routing.eval_sigmas("high").tolist() == pytest.approx([0.9125, 0.9375, 0.9625, 0.9875])
    high = routing.figures("high", [1, 1, 1, 1])
    low = routing.figures("low", [4, 4, 4, 4])
    assert high.keys() == {
        "loss", "high/loss", "high/loss_sigma_0.9125", "high/loss_sigma_0.9375",
        "high/loss_sigma_0.9625", "high/loss_sigma_0.9875",
    }  # fmt: skip
    # the mean over both is that over all noise levels alike
    assert (high["loss"] + low["loss"]) / 2 == pytest.approx(0.1 * 1 + 0.9 * 4)
    assert ONE_TRANSFORMER.figures("model", [1, 2, 3, 4]) == {
        "loss": 2.5, "loss_sigma_0.125": 1, "loss_sigma_0.375": 2, "loss_sigma_0.625": 3,
        "loss_sigma_0.875": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "law", "path", "message"),
    [
        (
            {},
            {"mean": -40.0},
            "train_dit.timesteps",
            "from 0.875 to 1, those of the high",
        ),
        ({"trained": "low"}, {"mean": 40.0}, "train_dit.timesteps", "from 0 to 0.875"),
        (
            {"block_steps": 100, "share": 0.1, "steps": 90},
            {},
            "train_dit.expert_steps",
            "got 100; in 90 steps the high-noise expert never learns",
        ),
    ],
)
def test_an_expert_that_could_not_learn_is_a_mistake(
    options_of_experts, levels, changes, law, path, message
):
    with pytest.raises(ProblemsError) as error:
        route_experts(options_of_experts(**changes), levels(**law), BUCKETS)
    ((found, text),) = error.value.problems
    assert found == path
    assert message in text
