import pytest
import torch
from torch.distributions import Normal, kl_divergence

from wanctl.train.dit.loss import velocity_error
from wanctl.train.vae import losses


def test_kl_is_that_of_the_distributions_summed_over_channels():
    mean, logvar = torch.randn(2, 4, 3, 5, 5), torch.randn(2, 4, 3, 5, 5)
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(losses.kl(mean, logvar), expected.flatten(1).mean(1))


@pytest.mark.parametrize(("reduction", "factor"), [("sample", 3 * 5 * 5), ("mean", 1 / 4)])
def test_reductions_of_kl_differ_by_the_factor_that_the_recipe_says(reduction, factor):
    mean, logvar = torch.randn(2, 4, 3, 5, 5), torch.randn(2, 4, 3, 5, 5)
    expected = losses.kl(mean, logvar) * factor
    torch.testing.assert_close(losses.kl(mean, logvar, reduction), expected)


def test_psnr_counts_the_full_range_and_clamps():
    video = torch.zeros(1, 3, 1, 8, 8)
    assert losses.psnr(video + 0.2, video).item() == pytest.approx(20.0, abs=1e-4)
    assert losses.psnr(video + 5, video + 1).item() == pytest.approx(100 + 6.0206, abs=1e-3)


def test_losses_are_per_sample():
    a = torch.zeros(3, 3, 2, 4, 4)
    b = a + torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1, 1)
    assert losses.l1(b, a).tolist() == [0, 1, 2]
    assert velocity_error(b, a).tolist() == [0, 1, 4]
