"""Guidance: the formula, its two ends, and one batch against two passes."""

import pytest
import torch

from wanctl.diffusion import guidance
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.guidance import guided_velocity

X = torch.randn(2, 4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
PROMPT, NEGATIVE = torch.full((2, 3, 8), 2.0), torch.full((2, 3, 8), -1.0)


class Model:
    """Velocity is the latents plus the mean of the text; records its inputs."""

    def __init__(self, dtype=torch.float32):
        self.calls = []
        self.dtype = dtype

    def __call__(self, x, timesteps, context):
        self.calls.append((x.shape[0], timesteps.tolist(), context[:, 0, 0].tolist()))
        return (x + context.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)).to(self.dtype)


def guide(model, scale, negative=NEGATIVE):
    return guided_velocity(model, X, torch.tensor(7), Conditions(PROMPT), negative, scale)


def test_scale_extrapolates_from_the_negative_prompt():
    assert torch.allclose(guide(Model(), 5.0), X - 1 + 5 * 3, atol=1e-5)


def test_scale_one_is_the_prompt_in_one_pass_without_a_negative():
    model = Model()
    assert torch.equal(guide(model, 1, negative=None), X + 2)
    assert model.calls == [(2, [7], [2, 2])]


def test_scale_zero_is_the_negative_prompt_in_one_pass():
    model = Model()
    assert torch.equal(guide(model, 0), X - 1)
    assert model.calls == [(2, [7], [-1, -1])]


def test_small_latents_go_through_as_one_batch_with_the_prompt_first():
    model = Model()
    guide(model, 3.0)
    assert model.calls == [(4, [7], [2, 2, -1, -1])]


def test_large_latents_take_two_passes_with_the_prompt_first(monkeypatch):
    monkeypatch.setattr(guidance, "BATCHED_TOKENS", 7)
    model = Model()
    batched = guide(Model(), 3.0)
    assert torch.allclose(guide(model, 3.0), batched)
    assert [context for _, _, context in model.calls] == [[2, 2], [-1, -1]]


def test_half_precision_velocities_are_combined_in_float32():
    guided = guide(Model(torch.bfloat16), 5.0)
    assert guided.dtype == torch.float32
    expected = (X - 1).bfloat16().float() + 5 * ((X + 2).bfloat16().float() - (X - 1).bfloat16())
    assert torch.equal(guided, expected)


def test_guidance_without_a_negative_prompt_is_refused():
    with pytest.raises(ValueError, match="needs a negative prompt"):
        guide(Model(), 2.0, negative=None)
