"""MeanFlow: a network that also takes where a step goes, and its sampling."""

import pytest
import torch
from torch import nn

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import levels_schedule
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.transformer import sinusoid
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
                 text_dim=8, text_len=6, freq_dim=16, second_timestep=True)  # fmt: skip


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


X, TEXT = random(1, 4, 3, 4, 6), random(1, 6, 8, seed=1)
TIME, NEXT = torch.tensor([833.25]), torch.tensor([0.0])


@pytest.fixture(scope="module")
def model():
    model = make_dit(SHAPE).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


@torch.no_grad()
def test_both_embeddings_are_added_before_the_projection(model):
    e, e6 = model._embed_step(TIME, NEXT)
    embed, more = model.time_embedding, model.time_embedding_r
    own, following = embed(sinusoid(TIME, 16)), more(sinusoid(NEXT, 16))
    project = model.time_projection[1]
    expected = project(nn.functional.silu(own) + nn.functional.silu(following))
    torch.testing.assert_close(e6.flatten(), expected.flatten(), rtol=0, atol=1e-6)
    torch.testing.assert_close(e.flatten(), own.flatten(), rtol=0, atol=0)  # that of the head


@torch.no_grad()
def test_each_step_is_told_where_it_goes(model):
    calls = []

    def recorded(x, timesteps, context, **more):
        calls.append((timesteps.item(), more["next_timesteps"].item()))
        return model(x, timesteps, context, **more)

    settings = {
        "noise": X, "conditions": Conditions(TEXT, second_timestep=True), "guide_scale": 1.0,
        "solver": "euler", "schedule": levels_schedule((1.0, 5 / 6)),
    }  # fmt: skip
    got = generate(recorded, **settings)
    assert calls == [(1000, pytest.approx(2500 / 3)), (pytest.approx(2500 / 3), 0)]
    x = X - (1 - 5 / 6) * model(
        X, torch.tensor([1000.0]), TEXT, next_timesteps=torch.tensor([2500 / 3])
    )
    x = x - 5 / 6 * model(x, torch.tensor([2500 / 3]), TEXT, next_timesteps=torch.zeros(1))
    torch.testing.assert_close(got, x, rtol=0, atol=1e-5)


@torch.no_grad()
def test_timesteps_of_another_number_are_refused(model):
    with pytest.raises(ValueError, match=r"next timesteps: got \(2,\) for timesteps \(1,\)"):
        model(X, TIME, TEXT, next_timesteps=torch.zeros(2))
