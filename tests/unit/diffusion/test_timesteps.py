"""Laws by which training draws noise levels."""

import math

import pytest
import torch

from wanctl.diffusion.timesteps import LAWS, LawOptions, get_law, law_mass, sample_sigmas
from wanctl.errors import UserError
from wanctl.model.noise_levels import shift_sigmas

COUNT = 20_000
# 1 % of samples of this size lie further from their distribution (Kolmogorov-Smirnov).
CRITICAL = 1.63 / math.sqrt(COUNT)


def normal_cdf(x):
    return 0.5 * torch.erfc(-x / math.sqrt(2))


def mode_cdf(sigma, scale):
    """Equation 20 of SD3, which falls, at so many u that the nearest one will do."""
    u = torch.linspace(1, 0, 1_000_001, dtype=torch.float64)
    f = 1 - u - scale * (torch.cos(math.pi / 2 * u).square() - 1 + u)
    return 1 - u[torch.searchsorted(f, sigma)]


# (law, its parameters) -> CDF without a shift
CDFS = {
    ("uniform",): lambda x: x,
    ("logit_normal",): lambda x: normal_cdf(torch.logit(x)),
    ("logit_normal", -0.7, 0.5): lambda x: normal_cdf((torch.logit(x) + 0.7) / 0.5),
    ("mode", 0, 1, 1.29): lambda x: mode_cdf(x, 1.29),
    ("mode", 0, 1, -0.5): lambda x: mode_cdf(x, -0.5),
    ("cosmap",): lambda x: 2 / math.pi * torch.atan(x / (1 - x)),
}


def options(law, mean=0.0, std=1.0, mode_scale=1.29):
    return LawOptions(law, mean, std, mode_scale)


def draw(law, seed=0, count=COUNT, **more):
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    return sample_sigmas(options(*law), uniform, **more)


def distance(sigmas, cdf):
    """Largest difference between the distribution of a sample and a CDF."""
    levels = cdf(sigmas.double().sort().values)
    middle = (torch.arange(len(levels)) + 0.5) / len(levels)
    return (levels - middle).abs().max().item() + 0.5 / len(levels)


def test_the_table_of_the_tests_has_every_law():
    assert {law for law, *_ in CDFS} == LAWS.keys()


@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("law", CDFS)
def test_draws_have_the_distribution_of_their_law_and_shift(law, shift):
    cdf = CDFS[law]
    sigmas = draw(law, shift=shift)
    found = distance(sigmas, lambda x: cdf(x / (shift - (shift - 1) * x)))
    assert found < CRITICAL
    # the test can tell shifts apart
    assert distance(sigmas, lambda x: cdf(x / (1.2 * shift - (1.2 * shift - 1) * x))) > CRITICAL


@pytest.mark.parametrize("law", CDFS)
@pytest.mark.parametrize("within", [(0.0, 0.875), (0.875, 1.0), (0.9, 1.0)])
def test_a_confined_law_is_the_law_of_its_draws_in_that_range(law, within):
    """As if draws outside were rejected; the mass is the share that would be kept."""
    shift, (low, high) = 3.0, within
    every = draw(law, seed=1, shift=shift)
    kept = every[(every >= low) & (every < high)]
    confined = draw(law, shift=shift, within=within)
    assert low < confined.min()
    assert confined.max() < high
    assert law_mass(options(*law), within, shift=shift) == pytest.approx(
        len(kept) / COUNT, abs=0.015
    )
    both = torch.cat((kept, confined)).sort().values
    shares = [torch.searchsorted(s.sort().values, both) / len(s) for s in (kept, confined)]
    limit = 1.63 * math.sqrt(1 / len(kept) + 1 / len(confined))
    assert (shares[0] - shares[1]).abs().max() < limit


@pytest.mark.parametrize("law", LAWS)
def test_quantile_and_cdf_are_inverse(law):
    u = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    row = get_law(law)
    there = row.quantile(u, options(law))
    assert (row.cdf(there, options(law)) - u).abs().max() < 1e-12


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("changes", [{}, {"shift": 8.0}, {"within": (0.9, 1.0)}])
def test_levels_lie_strictly_inside_their_range_at_the_ends_of_the_uniform_numbers(law, changes):
    ends = torch.tensor([0.0, 1e-300, 0.5, 1 - 1e-16], dtype=torch.float64)
    sigmas = sample_sigmas(options(law, std=50.0), ends, **changes)
    low, high = changes.get("within", (0.0, 1.0))
    assert sigmas.dtype == torch.float32
    assert low < sigmas.min()
    assert sigmas.max() < high
    assert (sigmas.diff() >= 0).all()


def test_shift_moves_towards_noise_and_keeps_the_ends():
    u = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.equal(shift_sigmas(u, 1.0), u)
    assert shift_sigmas(u, 3.0).tolist() == [0.0, 0.5, 0.75, 1.0]


def test_unknown_law_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'logit_normal'"):
        draw(("logitnormal",))
