"""No black videos: NaN and infinity stop a run before anything is written."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.phases import step_rules
from wanctl.diffusion.schedules import make_schedule
from wanctl.sample import pipeline
from wanctl.sample.finite import NonFiniteError, check_conditions, check_texts
from wanctl.sample.prompt_embeddings import EmbeddingCache

REQUEST = SimpleNamespace(
    prompt="a cat", title="a cat", seed=7, solver="euler", steps=6,
    schedule=make_schedule("euler", 6, 1.0),
    guided=False, negative_prompt="", step_cache=0.0,
    dtype="float16", frames=5, fps=16, crf=16,
)  # fmt: skip


def run(model, *, expert=None, boundary=None):
    """Denoise REQUEST with a model; returns the steps at which it was called."""
    rules = step_rules(REQUEST.schedule.timesteps, 1.0, boundary=boundary)
    request = SimpleNamespace(**vars(REQUEST), step_rules=rules)
    this = SimpleNamespace(
        device=torch.device("cpu"),
        previews=None,
        _conditions=lambda _: Conditions(torch.zeros(1, 2, 4)),
        _context=torch.stack,
        _noise=lambda _: SimpleNamespace(draw=lambda: torch.ones(1, 4, 1, 2, 2)),
        _transformers=SimpleNamespace(get=lambda expert, _: lambda *a, **k: model(expert, *a, **k)),
    )
    texts = {"a cat": torch.zeros(2, 4)}
    for segment in pipeline.SamplingPipeline._segments(this, [request], texts):
        pipeline.SamplingPipeline._run_segment(this, segment)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_model_that_makes_nan_stops_after_its_first_step(value):
    calls = []

    def spoiled(expert, x, timesteps, context):
        calls.append(timesteps)
        velocity = torch.ones_like(x)
        velocity[0, 3, 0, 1, 1] = value
        return velocity

    with pytest.raises(NonFiniteError, match=r"prompt 'a cat', seed 7: after step 1 of 6.*dtype"):
        run(spoiled)
    assert len(calls) == 1


def test_the_second_expert_is_checked_after_its_first_step_too():
    calls = []

    def spoiled(expert, x, timesteps, context):
        calls.append(expert)
        return torch.ones_like(x) * (float("nan") if expert == "low" else 1)

    with pytest.raises(NonFiniteError, match="after step 4 of 6"):
        run(spoiled, boundary=0.6)
    assert calls == ["high"] * 3 + ["low"]


def test_values_that_overflow_in_the_last_step_are_found():
    def late(expert, x, timesteps, context):
        return torch.full_like(x, float("inf") if timesteps[0] < 200 else 1.0)

    with pytest.raises(NonFiniteError, match="after step 6 of 6"):
        run(late)


def test_a_vae_that_decodes_nan_leaves_no_file(tmp_path, monkeypatch):
    class Vae:
        def decode_frames(self, latents):
            yield torch.zeros(1, 3, 1, 8, 8)
            yield torch.full((1, 3, 4, 8, 8), float("nan"))

    this = SimpleNamespace(
        shared_vae=lambda _: Vae(),
        distributed=SimpleNamespace(is_main_process=True),
        outputs=SimpleNamespace(path=lambda _: tmp_path / "x.mp4", header=lambda _: {}),
    )
    with pytest.raises(NonFiniteError, match="the VAE decodes NaN"):
        pipeline.SamplingPipeline.write(this, REQUEST, torch.zeros(1))
    assert list(tmp_path.iterdir()) == []


def test_encoded_inputs_and_prompts_are_checked():
    bad = torch.tensor([[[1.0, float("nan")]]])
    for name in ("channels", "image", "control", "known", "context"):
        conditions = Conditions(**{"context": torch.zeros(1, 1, 2), name: bad})
        with pytest.raises(NonFiniteError, match=name):
            check_conditions(conditions, REQUEST)
    with pytest.raises(NonFiniteError, match=r"prompt 'a dog'.*text encoder"):
        check_texts({"a cat": torch.zeros(1, 2), "a dog": bad[0]}, None)


def test_a_cached_embedding_that_is_not_finite_is_made_again(tmp_path: Path):
    cache = EmbeddingCache(tmp_path, "encoder")
    cache.put("good", torch.ones(2, 3))
    cache.put("bad", torch.full((2, 3), float("nan")))
    assert cache.get("bad") is None
    assert torch.equal(cache.get("good"), torch.ones(2, 3))
