"""Noise and text to latents, with a small real transformer."""

import pytest
import torch

from wanctl.diffusion.conditions import Conditions, predict, stacked
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import levels_schedule, make_schedule
from wanctl.diffusion.solvers import SOLVERS, STOCHASTIC
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=6, text_len=5, freq_dim=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanModel(SHAPE)
        torch.nn.init.normal_(model.head.head.weight, std=0.5)
    return model.eval()


def run(model, *, solver="unipc", steps=3, batch=1, scale=4.0, on_step=None):
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(batch, 4, 2, 4, 4, generator=generator)
    context = torch.randn(batch, 5, 6, generator=generator)
    return generate(
        model,
        noise=noise,
        conditions=Conditions(context),
        negative_context=torch.zeros_like(context),
        guide_scale=scale,
        schedule=make_schedule(solver, steps, 5.0),
        solver=solver,
        step_noise=lambda: torch.randn(noise.shape, generator=generator),
        on_step=on_step,
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_latents_are_float32_finite_and_repeat(model, solver):
    first, second = (run(model, solver=solver) for _ in range(2))
    assert first.shape == (1, 4, 2, 4, 4)
    assert first.dtype == torch.float32
    assert first.isfinite().all()
    assert torch.equal(first, second)


def test_solvers_agree_when_steps_are_many(model):
    deterministic = [solver for solver in SOLVERS if solver not in STOCHASTIC]
    ends = [run(model, solver=solver, steps=200, scale=1.0) for solver in deterministic]
    # Measured 0.054, the error of Euler.
    assert max((end - ends[0]).abs().max() for end in ends) < 0.1


def test_the_model_gets_the_official_integer_timesteps(model):
    seen = []

    def spy(x, timesteps, context):
        seen.append(timesteps[0].item())
        return model(x, timesteps, context)

    run(spy, steps=4)
    assert seen == [999, 937, 833, 624]


def test_levels_reach_the_model_with_fractions_and_the_noise_begins_at_the_first():
    seen, starts = [], []

    def spy(x, timesteps, context):
        seen.append(timesteps[0].item())
        starts.append(x)
        return torch.zeros_like(x)

    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    context = torch.zeros(1, 5, 6)
    for levels in ((1.0, 0.9375, 0.625), (0.98765, 0.5)):
        generate(
            spy, noise=noise, conditions=Conditions(context), guide_scale=1.0,
            schedule=levels_schedule(levels), solver="euler",
        )  # fmt: skip
    assert seen == pytest.approx([1000, 937.5, 625, 987.65, 500])
    assert torch.equal(starts[0], noise)
    assert torch.allclose(starts[3], noise * 0.98765)


def test_a_stochastic_solver_needs_noise():
    with pytest.raises(ValueError, match="step_noise"):
        generate(
            lambda x, *_: x, noise=torch.ones(1, 4, 2, 4, 4), guide_scale=1.0,
            conditions=Conditions(torch.zeros(1, 5, 6)), schedule=make_schedule("lcm", 2, 5.0),
            solver="lcm",
        )  # fmt: skip


def test_progress_counts_every_step(model):
    steps = []
    run(model, steps=3, on_step=lambda step, x: steps.append((step, x.shape)))
    assert steps == [(n, (1, 4, 2, 4, 4)) for n in (1, 2, 3)]


def test_autocast_reaches_the_model_and_not_the_solver():
    seen = []

    def spy(x, timesteps, context):
        seen.append((torch.is_autocast_enabled("cpu"), x.dtype))
        return x @ torch.eye(4)

    states = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents = run(spy, on_step=lambda *_: states.append(torch.is_autocast_enabled("cpu")))
    assert seen == [(True, torch.float32)] * 3
    assert states == [False] * 3
    assert latents.dtype == torch.float32


def test_a_model_can_be_trained_after_it_was_sampled(model):
    run(model)
    x = torch.randn(1, 4, 2, 4, 4)
    model.train()
    model(x, torch.tensor([500.0]), torch.zeros(1, 5, 6)).sum().backward()
    assert all(p.grad is not None for p in model.head.parameters())
    model.eval().zero_grad()


def test_items_of_a_batch_may_know_different_frames():
    torch.manual_seed(0)
    known, x = torch.randn(2, 2, 3, 2, 2), torch.randn(2, 2, 3, 2, 2)
    places = torch.tensor([[True, False, False], [True, True, False]])
    both = Conditions(torch.zeros(2, 1, 4), known=known, known_frames=places)
    seen = []

    def model(x, timesteps, context):
        seen.append((x, timesteps))
        return x

    predict(model, x, torch.tensor([400.0, 700.0]), both)
    (latents, times), imposed = seen[0], both.impose(x)
    assert times.tolist() == [[0, 400, 400], [0, 0, 700]]
    assert torch.equal(latents, imposed)
    for item in range(2):
        one = Conditions(both.context[:1], known=known[item : item + 1], known_frames=places[item])
        assert torch.equal(one.impose(x[item : item + 1])[0], imposed[item])
    doubled = stacked((both, both))
    assert torch.equal(doubled.known_frames, torch.cat((places, places)))
