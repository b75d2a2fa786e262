"""Steps that are taken over: none at threshold 0, and close where the path is nearly straight."""

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.diffusion.solvers import SOLVERS, solve
from wanctl.diffusion.step_cache import with_step_cache
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

    def counted(*args, **given):
        calls.append(1)
        return model(*args, **given)

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


def test_larger_thresholds_ask_less_and_go_further_from_the_uncached(model):
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

    def even(x, sigmas):
        for step in range(len(sigmas) - 1):
            yield x + step, step
        return x

    monkeypatch.setitem(SOLVERS, "even", even)


def steps_asked(velocity, threshold, change=None):
    asked = []

    def answer(x, step):
        asked.append(step)
        return velocity(x, step)

    solve(
        with_step_cache("even", threshold, change), answer, torch.full((2,), 1.0), torch.zeros(11)
    )
    return asked


def test_a_straight_path_is_asked_for_its_ends_only(even_steps):
    assert steps_asked(lambda x, _: torch.ones_like(x), 0.01) == [0, 1, 9]


def test_a_path_that_turns_is_asked_at_every_step(even_steps):
    assert steps_asked(lambda x, step: x * (-1) ** step, 0.05) == list(range(10))


def test_nothing_is_taken_over_into_another_model(even_steps):
    asked = steps_asked(lambda x, step: torch.ones_like(x) * (1 if step < 6 else -1), 0.01, 6)
    assert asked == [0, 1, 6, 7, 9]
