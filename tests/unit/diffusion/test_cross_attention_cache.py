"""A sample computes the keys and values of each prompt once per model, without changing it."""

import pytest
import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.cross_attention_cache import CrossAttentionCache
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=6, text_len=5, freq_dim=16,
)  # fmt: skip


class Plain:
    """A model that cannot precompute."""

    def __init__(self, model):
        self.model = model

    def __call__(self, *args, **more):
        return self.model(*args, **more)


class Counting(WanModel):
    def __init__(self, shape):
        super().__init__(shape)
        self.precomputed = 0

    def precompute_cross_attention(self, *args):
        self.precomputed += 1
        return super().precompute_cross_attention(*args)


def sample(model):
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(1, 5, 6, generator=generator)
    context[:, 3:] = 0
    return generate(
        model,
        noise=torch.randn(1, 4, 2, 4, 4, generator=generator),
        conditions=Conditions(context),
        negative_context=torch.zeros_like(context),
        guide_scale=4.0,
        schedule=make_schedule("unipc", 4, 5.0),
        solver="unipc",
    )


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Counting(SHAPE)
        torch.nn.init.normal_(model.head.head.weight, std=0.5)
    return model.eval()


@pytest.mark.parametrize("batched", [True, False])
def test_a_sample_equals_that_of_a_model_without_a_cache(model, batched, monkeypatch):
    if not batched:
        monkeypatch.setattr("wanctl.diffusion.guidance.BATCHED_TOKENS", 0)
    # Measured: 1e-6 after four steps of latents of the order of 5.
    torch.testing.assert_close(sample(model), sample(Plain(model)), atol=2e-5, rtol=0)
    assert model.precomputed == (1 if batched else 2)


def test_a_second_model_has_its_own_entries_and_the_first_is_freed(model):
    cache, conditions = CrossAttentionCache(), Conditions(torch.ones(1, 5, 6))
    with torch.no_grad():
        first = cache.get(model, conditions)
        assert cache.get(model, conditions) is first
        other = WanModel(SHAPE)
        assert cache.get(other, conditions) is not first
        assert cache.get(model, conditions) is not first
    assert cache.get(Plain(model), conditions) is None
