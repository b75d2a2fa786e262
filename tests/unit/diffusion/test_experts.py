"""Two models that take turns: when, with which guide scale, and never both in memory."""

import gc
import weakref

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.experts import HIGH, LOW, Experts, expert_of, guide_scales
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.dit import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=6, text_len=5, freq_dim=16,
)  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "shift", "boundary", "high"), [(40, 12.0, 0.875, 26), (40, 5.0, 0.9, 15)]
)
def test_the_published_runs_divide_their_steps_as_the_official_code_does(
    steps, shift, boundary, high
):
    schedule = make_schedule("unipc", steps, shift)
    names = [expert_of(t, boundary) for t in schedule.timesteps.tolist()]
    assert names == [HIGH] * high + [LOW] * (steps - high)
    scales = guide_scales(schedule.timesteps, (3.0, 4.0), boundary)
    assert scales == [4.0] * high + [3.0] * (steps - high)


def test_the_boundary_itself_is_high_noise():
    assert expert_of(900, 0.9) == HIGH
    assert expert_of(899, 0.9) == LOW


def test_one_scale_serves_all_steps():
    assert guide_scales(torch.tensor([999, 5]), 3.5, None) == [3.5, 3.5]
    assert guide_scales(torch.tensor([999, 5]), 3.5, 0.9) == [3.5, 3.5]


def model(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = WanModel(SHAPE)
        torch.nn.init.normal_(made.head.head.weight, std=0.5)
    return made.eval()


def run(what, scales):
    generator = torch.Generator().manual_seed(1)
    noise, context = torch.randn(1, 4, 2, 4, 4, generator=generator), torch.ones(1, 5, 6)
    return generate(
        what, noise=noise, conditions=Conditions(context), negative_context=context * 0,
        guide_scale=scales, schedule=make_schedule("unipc", 6, 5.0), solver="unipc",
    )  # fmt: skip


def test_only_one_is_in_memory_while_two_prompts_are_sampled():
    alive: list[weakref.ref] = []
    loaded, most = [], 0

    def load(name):
        nonlocal most
        gc.collect()
        most = max(most, 1 + sum(ref() is not None for ref in alive))
        made = model(seed=len(name))
        alive.append(weakref.ref(made))
        loaded.append(name)
        return made

    experts = Experts(load, 0.9)
    first, second = run(experts, 3.0), run(experts, 3.0)
    assert loaded == [HIGH, LOW, HIGH, LOW]
    assert most == 1
    assert torch.equal(first, second)


def test_each_expert_does_its_steps():
    both = run(Experts(lambda name: model(len(name)), 0.9), 3.0)
    high = run(model(len(HIGH)), 3.0)
    low = run(model(len(LOW)), 3.0)
    assert (both - high).abs().max() > 1e-3
    assert (both - low).abs().max() > 1e-3
    assert torch.equal(run(Experts(lambda name: model(len(name)), 0.0), 3.0), high)
    assert torch.equal(run(Experts(lambda name: model(len(name)), 1.0), 3.0), low)
