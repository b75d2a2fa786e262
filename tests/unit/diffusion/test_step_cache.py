"""Steps that are taken over: none at threshold 0, and close where the path is nearly straight."""

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.diffusion.step_cache import StepCache, with_step_cache
from wanctl.model.dit import WanModel
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


def test_a_straight_path_is_asked_for_its_ends_only():
    asked = []

    def straight(x, step):
        asked.append(step)
        return torch.ones_like(x)

    cache = StepCache(straight, 10, 0.01)
    for step in range(10):
        assert torch.equal(cache(torch.full((2,), float(step)), step), torch.ones(2))
    assert asked == [0, 1, 9]
    assert cache.skipped == 7


def test_a_path_that_turns_is_asked_at_every_step():
    asked = []

    def turning(x, step):
        asked.append(step)
        return x * (-1) ** step

    cache = StepCache(turning, 10, 0.05)
    for step in range(10):
        cache(torch.full((2,), 1.0 + step), step)
    assert asked == list(range(10))
