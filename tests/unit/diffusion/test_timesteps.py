"""Laws by which training draws noise levels."""

import pytest
import torch

from wanctl.diffusion.flow import shift_sigmas
from wanctl.diffusion.timesteps import LAWS, sample_sigmas
from wanctl.errors import UserError


def draw(law, count=20_000, seed=0, **options):
    return sample_sigmas(law, count, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("law", LAWS)
def test_every_law_is_a_pure_function_of_its_generator(law):
    state = torch.random.get_rng_state()
    first, second, other = draw(law), draw(law), draw(law, seed=1)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("options", [{}, {"shift": 8.0}, {"std": 50.0}])
def test_levels_lie_strictly_between_video_and_noise(law, options):
    sigmas = draw(law, **options)
    assert sigmas.shape == (20_000,)
    assert sigmas.dtype == torch.float32
    assert sigmas.min() > 0
    assert sigmas.max() < 1


def test_uniform_covers_all_levels_alike():
    counts = torch.histc(draw("uniform"), bins=10, min=0, max=1)
    assert (counts - 2000).abs().max() < 200


def test_logit_normal_has_its_median_at_the_sigmoid_of_the_mean():
    assert draw("logit_normal").median() == pytest.approx(0.5, abs=0.01)
    assert draw("logit_normal", mean=1.0).median() == pytest.approx(0.7311, abs=0.01)
    assert draw("logit_normal", std=0.1).std() < 0.03


def test_shift_moves_towards_noise_and_keeps_the_ends():
    u = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.equal(shift_sigmas(u, 1.0), u)
    assert shift_sigmas(u, 3.0).tolist() == [0.0, 0.5, 0.75, 1.0]
    assert draw("uniform", shift=3.0).median() == pytest.approx(0.75, abs=0.01)


def test_unknown_law_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'logit_normal'"):
        draw("logitnormal")
