"""The calls of a sample in phases: step, timestep, expert, LoRA strengths, passes of guidance."""

from types import SimpleNamespace

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.phases import Phase, step_rules
from wanctl.diffusion.schedules import levels_schedule
from wanctl.model.noise_levels import levels_of_timesteps
from wanctl.sample import pipeline

LIGHTNING = levels_of_timesteps((1000, 750, 500, 250), shift=5)
CURE = (Phase(1, "high", 0.0, 3.5), Phase(None, None, (1.0, 0.5), 1.0))


def request(phases=CURE, *, scale=1.0, boundary=0.875, solver="euler", step_cache=0.0):
    schedule = levels_schedule(LIGHTNING)
    rules = step_rules(schedule.timesteps, scale, boundary=boundary, phases=phases)
    return SimpleNamespace(
        prompt="a cat", title="a cat", seed=0, negative_prompt="", solver=solver, frames=5,
        schedule=schedule, step_rules=rules, step_cache=step_cache, dtype="float32",
        guided=any(rule.guide_scale != 1 for rule in rules), kind=str(phases), task="t2v",
        driving_prompt=None,
    )  # fmt: skip


def record(*batches, side=2, monkeypatch=None):
    """Every call of the transformers, change of them and draw of noise, for some batches.

    A call: (expert, strengths), timestep, items; guidance of small latents doubles the items.
    """
    calls, changes, draws = [], [], []

    def get(expert, strengths):
        if not changes or changes[-1] != (expert, strengths):
            changes.append((expert, strengths))

        def model(x, timesteps, context):
            calls.append(((expert, strengths), round(timesteps[0].item(), 2), len(x)))
            return torch.ones_like(x)

        return model

    def noise(batch):
        def draw():
            draws.append(len(batch))
            return torch.ones(len(batch), 4, 1, side, side)

        return SimpleNamespace(draw=draw)

    this = SimpleNamespace(
        device=torch.device("cpu"), previews=None, requests=[batch[0] for batch in batches],
        distributed=SimpleNamespace(), outputs=SimpleNamespace(embeddings_folder=None),
        weights=SimpleNamespace(dit=SimpleNamespace(dit_low=None)), dit_shape=None,
        _uses={rule.transformer for batch in batches for rule in batch[0].step_rules},
        _conditions=lambda _: Conditions(torch.zeros(1, 2, 4)), _context=torch.stack, _noise=noise,
        _transformers=SimpleNamespace(get=get, release=lambda: None),
        _batches=lambda _: iter(batches), inputs_of=lambda _: None,
    )  # fmt: skip
    for name in ("_segments", "_run_segment", "_embed_prompts"):
        setattr(this, name, getattr(pipeline.SamplingPipeline, name).__get__(this))
    this.distributed.broadcast_from_main = lambda make: make()
    texts = {"a cat": torch.zeros(2, 4), "": torch.zeros(2, 4)}
    encoder = SimpleNamespace(embed=lambda prompts: texts)
    task = SimpleNamespace(output_latents=lambda latents, _: latents)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "PromptEncoder", lambda *_: encoder)
        patch.setattr(pipeline, "get_task", lambda _: task)
        done = list(pipeline.SamplingPipeline.latents(this))
    assert len(done) == sum(len(batch) for batch in batches)
    return SimpleNamespace(calls=calls, changes=changes, draws=draws)


def test_each_step_has_the_expert_the_strengths_and_the_passes_of_its_phase(monkeypatch):
    seen = record([request()], monkeypatch=monkeypatch)
    assert seen.calls == [
        (("high", 0.0), 1000, 2),  # both prompts of guidance in one batch
        (("high", (1.0, 0.5)), 937.5, 1),
        (("low", (1.0, 0.5)), 833.33, 1),
        (("low", (1.0, 0.5)), 625, 1),
    ]
    assert seen.changes == [("high", 0.0), ("high", (1.0, 0.5)), ("low", (1.0, 0.5))]
    assert seen.draws == [1]


def test_large_latents_have_a_pass_for_each_prompt_of_guidance(monkeypatch):
    calls = record([request()], side=66, monkeypatch=monkeypatch).calls
    assert [time for _, time, _ in calls] == [1000, 1000, 937.5, 833.33, 625]
    assert {items for _, _, items in calls} == {1}


def test_a_batch_of_outputs_is_guided_together(monkeypatch):
    calls = record([request()] * 3, monkeypatch=monkeypatch).calls
    assert [items for _, _, items in calls] == [6, 3, 3, 3]


def test_several_batches_change_the_weights_once_for_all(monkeypatch):
    seen = record(*[[request()]] * 3, monkeypatch=monkeypatch)
    assert seen.changes == [("high", 0.0), ("high", (1.0, 0.5)), ("low", (1.0, 0.5))]
    assert len(seen.calls) == 12


def test_one_transformer_changes_its_strengths(monkeypatch):
    phases = (Phase(2, None, 0.0, 5.0), Phase(2, None, 1.0, None))
    calls = record([request(phases, boundary=None)], monkeypatch=monkeypatch).calls
    assert [(use, items) for use, _, items in calls] == (
        [((None, 0.0), 2)] * 2 + [((None, 1.0), 1)] * 2
    )


@pytest.mark.parametrize(("second", "computed"), [(0.0, 3), (1.0, 4)])
def test_the_step_cache_reuses_no_velocity_of_another_phase(monkeypatch, second, computed):
    phases = (Phase(2, None, 0.0, None), Phase(2, None, second, None))
    one = request(phases, boundary=None, step_cache=10.0)
    assert len(record([one], monkeypatch=monkeypatch).calls) == computed


def test_lcm_draws_noise_after_each_step_but_the_last_for_all_outputs(monkeypatch):
    seen = record([request(solver="lcm")] * 2, monkeypatch=monkeypatch)
    assert seen.draws == [2, 2, 2, 2]  # the initial noise and three more
    assert len(seen.calls) == 4
