"""Reused velocities: none at threshold 0, a small error where the path is nearly straight."""

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.phases import StepRule
from wanctl.diffusion.schedules import make_schedule
from wanctl.diffusion.solvers import SOLVERS, solve
from wanctl.diffusion.step_cache import velocity_changes, with_step_cache
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=6, text_len=5, freq_dim=16,
)  # fmt: skip
STEPS = 20


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanModel(SHAPE)
        torch.nn.init.normal_(model.head.head.weight, std=0.1)
    return model.eval()


def sample(model, solver="unipc"):
    calls = []

    def counted(*args, **conditions):
        calls.append(1)
        return model(*args, **conditions)

    generator = torch.Generator().manual_seed(1)
    context = torch.randn(1, 5, 6, generator=generator)
    latents = generate(
        counted,
        noise=torch.randn(1, 4, 2, 4, 4, generator=generator),
        conditions=Conditions(context),
        negative_context=torch.zeros_like(context),
        guide_scale=4.0,
        schedule=make_schedule("unipc", STEPS, 5.0),
        solver=solver,
    )
    return latents, len(calls)


def test_threshold_zero_is_bit_identical(model):
    (plain, calls), (cached, same) = sample(model), sample(model, with_step_cache("unipc", 0.0))
    assert torch.equal(plain, cached)
    assert calls == same == STEPS


def test_larger_thresholds_evaluate_less_and_differ_more_from_the_uncached(model):
    plain, _ = sample(model)
    counts, distances = [], []
    for threshold in (1e-9, 0.02, 0.3):
        latents, calls = sample(model, with_step_cache("unipc", threshold))
        counts.append(calls)
        distances.append(((latents - plain).norm() / plain.norm()).item())
    assert counts[0] == STEPS
    assert counts[0] > counts[1] > counts[2]
    assert distances[0] == 0
    # Measured: 0.004 and 0.05.
    assert 0 < distances[1] < 0.02
    assert distances[1] < distances[2] < 0.2


@pytest.fixture
def even_steps(monkeypatch):
    """A solver whose latents move by 1 each step, whatever the velocity is."""

    def even(x, sigmas, noise):
        for step in range(len(sigmas) - 1):
            yield x + step, step
        return x

    monkeypatch.setitem(SOLVERS, "even", even)


def computed_steps(velocity, threshold, resets=()):
    computed = []

    def counted(x, step):
        computed.append(step)
        return velocity(x, step)

    solver = with_step_cache("even", threshold, resets)
    solve(solver, counted, torch.full((2,), 1.0), torch.zeros(11), lambda: torch.zeros(2))
    return computed


def test_a_straight_path_is_computed_at_its_ends_only(even_steps):
    assert computed_steps(lambda x, _: torch.ones_like(x), 0.01) == [0, 1, 9]


def test_a_path_that_turns_is_computed_at_every_step(even_steps):
    assert computed_steps(lambda x, step: x * (-1) ** step, 0.05) == list(range(10))


def test_no_velocity_is_reused_after_a_reset(even_steps):
    def velocity(x, step):
        return torch.ones_like(x) * (1 if step < 6 else -1)

    assert computed_steps(velocity, 0.01, {6}) == [0, 1, 6, 7, 9]
    assert computed_steps(velocity, 0.01, {3, 6}) == [0, 1, 3, 4, 6, 7, 9]


def test_the_velocity_changes_with_the_guide_scale_and_the_expert():
    def rules(*scales, experts=(None,) * 5, strengths=(1.0,) * 5):
        return [StepRule(*rule) for rule in zip(experts, strengths, scales, strict=False)]

    assert velocity_changes(rules(4, 4, 4, 4)) == set()
    assert velocity_changes(rules(4, 4, 1, 1)) == {2}
    two = ("high", "high", "low", "low", "low")
    assert velocity_changes(rules(4, 4, 3, 3, 1, experts=two)) == {2, 4}
    assert velocity_changes(rules(3, 3, 3, 3, strengths=(0.0, (0.0, 1.0), 1.0, 1.0))) == {1, 2}
