"""Noise levels of a step: their strata, shifts and weights."""

import math

import pytest
import torch

from wanctl.errors import UserError
from wanctl.recipe.train.timesteps import TimestepsSection
from wanctl.train.dit.noise.levels import NoiseLevels, uniform_numbers
from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.dit.noise.weights import WEIGHTINGS, loss_weight
from wanctl.train.rng import MicrobatchIndex


def levels(microbatches=1, latent_shifts=None, **keys):
    section = TimestepsSection(**keys).model_dump(exclude={"bucket_shifts"})
    return NoiseLevels(
        NoiseOptions(**section, latent_shifts=latent_shifts or {}, microbatches=microbatches)
    )


def test_every_stratum_of_a_step_is_drawn_from_once_over_micro_batches():
    """Micro-batches are numbered over accumulation and processes, so this holds for both."""
    for step in range(5):
        numbers = [
            uniform_numbers(3, MicrobatchIndex(0, step, micro), 4, stratified=True)
            for micro in range(4)
        ]
        assert sorted((torch.cat(numbers) * 12).int().tolist()) == list(range(12))
        for each in numbers:  # and every micro-batch alone is spread evenly
            assert sorted((each * 3).int().tolist()) == [0, 1, 2]
    # bucket sizes may differ within a step: each micro-batch is spread evenly still
    other = uniform_numbers(5, MicrobatchIndex(0, 0, 1), 4, stratified=True)
    assert sorted((other * 5).int().tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stratified", [True, False])
def test_one_sample_of_stratified_draws_has_the_law_of_a_single_draw(stratified):
    """At every place in every micro-batch: no clip sees one part of the levels more often."""
    steps = 1000
    drawn = torch.stack(
        [
            torch.cat(
                [
                    uniform_numbers(2, MicrobatchIndex(1, step, micro), 2, stratified=stratified)
                    for micro in range(2)
                ]
            )
            for step in range(steps)
        ]
    )
    expected = (torch.arange(steps) + 0.5) / steps
    for place in drawn.T:
        assert (place.sort().values - expected).abs().max() < 1.63 / math.sqrt(steps)
    # strata make the mean of a step's levels vary less: by 1/4 of 1/4 of the deviation
    deviation = drawn.mean(1).std().item()
    assert deviation == pytest.approx(1 / math.sqrt(12 * 4) / (4 if stratified else 1), rel=0.1)


def test_levels_are_those_of_the_law_when_stratified_and_shifted():
    drawn = torch.cat(
        [
            levels(2, law="logit_normal", shift=2.0).draw(8, (5, 8, 8), MicrobatchIndex(0, s, m))
            for s in range(100)
            for m in range(2)
        ]
    )
    x = drawn.double().sort().values
    x = x / (2 - x)  # without the shift
    cdf = 0.5 * torch.erfc(-torch.logit(x) / math.sqrt(2))
    found = (cdf - (torch.arange(len(x)) + 0.5) / len(x)).abs().max()
    assert found < 1 / 16 / 4  # closer than the critical 0.041 of independent draws


def test_each_bucket_has_its_own_shift():
    sizes = {"480p": (21, 60, 104), "720p": (21, 90, 160), "image": (1, 60, 104)}
    tokens = {name: t * y * x // 4 for name, (t, y, x) in sizes.items()}
    assert tokens == {"480p": 32_760, "720p": 75_600, "image": 1_560}

    def shifts(**keys):
        return {name: levels(**keys).shift(size) for name, size in sizes.items()}

    assert set(shifts(shift=2).values()) == {2}
    root = shifts(shift=2, shift_formula="sqrt_tokens", shift_tokens=32_760)
    assert root["480p"] == 2
    assert root["720p"] == pytest.approx(2 * math.sqrt(75_600 / 32_760))
    line = {"shift_tokens": 32_760, "max_shift": 5, "max_shift_tokens": 75_600}
    exponential = shifts(shift=2, shift_formula="exp_tokens", **line)
    assert exponential["480p"] == pytest.approx(2)
    assert exponential["720p"] == pytest.approx(5)
    assert exponential["image"] == pytest.approx(2 * 2.5 ** (-31_200 / 42_840))
    # FLUX: 256 tokens get exp(0.5), 4,096 get exp(1.15)
    flux = levels(
        shift=math.exp(0.5), max_shift=math.exp(1.15), shift_formula="exp_tokens",
        shift_tokens=256, max_shift_tokens=4096,
    )  # fmt: skip
    assert flux.shift((1, 64, 64)) == pytest.approx(math.exp(0.5 + 0.65 * 768 / 3840))
    stated = levels(shift=2, latent_shifts={(21, 90, 160): 7.0})
    assert (stated.shift(sizes["480p"]), stated.shift(sizes["720p"])) == (2, 7)
    draws = [
        stated.draw(4000, sizes[name], MicrobatchIndex(0, 0, 0)).median().item()
        for name in ("480p", "720p")
    ]
    assert draws == pytest.approx([2 / 3, 7 / 8], abs=1e-3)


def test_weights_of_the_error():
    sigma = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    means = {name: loss_weight(name, sigma, 5.0).mean().item() for name in WEIGHTINGS}
    for name in ("none", "bell", "cosmap"):  # the last one is a density
        assert means[name] == pytest.approx(1)
    low = torch.tensor([0.1, 0.3, 0.6])
    # the error of the clean latents is sigma times the velocity's; its weight is at most gamma
    snr = ((1 - low) / low) ** 2
    expected = low**2 * snr.clamp(max=5.0)
    assert loss_weight("min_snr", low, 5.0).tolist() == pytest.approx(expected.tolist())
    assert loss_weight("bell", torch.tensor([0.0, 1.0]), 5.0).abs().max() < 1e-6
    with pytest.raises(UserError, match="did you mean 'min_snr'"):
        loss_weight("min-snr", low, 5.0)
