"""Two models that take turns: when, with which guide scale, and never both in memory."""

import gc
import weakref

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.experts import expert_of, guide_scales, high_steps
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import HIGH, LOW, DiTShape

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


def begin():
    generator = torch.Generator().manual_seed(1)
    noise, context = torch.randn(1, 4, 2, 4, 4, generator=generator), torch.ones(1, 5, 6)
    return Denoising(
        noise=noise, conditions=Conditions(context), negative_context=context * 0,
        guide_scale=3.0, schedule=make_schedule("unipc", 6, 5.0), solver="unipc",
    )  # fmt: skip


def test_each_expert_does_its_steps():
    high, low = model(seed=1), model(seed=2)
    stop = high_steps(make_schedule("unipc", 6, 5.0).timesteps, 0.9)
    assert 0 < stop < 6
    reported = []
    turns = begin()
    assert turns.run_until(high, stop, lambda step, _: reported.append(step)) is None
    both = turns.run_until(low, 6, lambda step, _: reported.append(step))
    assert reported == [1, 2, 3, 4, 5, 6]
    alone = [begin().run_until(each) for each in (high, low)]
    assert all((both - each).abs().max() > 1e-3 for each in alone)
    requested = [0, 0]

    def counted(number, expert):
        def ask(*args, **more):
            requested[number] += 1
            return expert(*args, **more)

        return ask

    turns = begin()
    turns.run_until(counted(0, high), stop)
    assert torch.equal(turns.run_until(counted(1, low)), both)
    assert requested == [stop, 6 - stop]  # both prompts of guidance in one batch


def test_nothing_of_a_model_is_held_while_another_has_its_turn():
    denoising, first = begin(), model(seed=1)
    denoising.run_until(first, 3)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert denoising.run_until(model(seed=2)).isfinite().all()
