"""Statistics of latents of known distribution."""

import json

import pytest
import torch

from wanctl.metrics.latents import RINGS, LatentSums, add_sums, latent_sums, statistics_of


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_mean_deviation_and_correlation_of_several_clips_are_those_of_all_positions():
    clips = [noise(3, 4, 6, 8), noise(3, 4, 10, 6, seed=1) * 2 + 1]
    for clip in clips:
        clip[1] = 0.5 * clip[0] + clip[1]
    sums = [LatentSums.from_lists(json.loads(json.dumps(latent_sums(c).as_lists()))) for c in clips]
    got = statistics_of(add_sums(sums))
    values = torch.cat([clip.flatten(1) for clip in clips], dim=1).double()
    torch.testing.assert_close(torch.tensor(got.mean).double(), values.mean(1))
    torch.testing.assert_close(torch.tensor(got.std).double(), values.std(1, correction=0))
    torch.testing.assert_close(torch.tensor(got.correlation).double(), torch.corrcoef(values))


def test_white_noise_has_a_flat_spectrum():
    got = statistics_of(latent_sums(noise(8, 8, 32, 32)))
    assert got.spatial_spectrum == pytest.approx([1] * RINGS, abs=0.12)
    assert got.temporal_spectrum == pytest.approx([1] * 5, abs=0.05)


def test_a_wave_is_in_the_ring_and_at_the_frequency_of_its_period():
    x = torch.arange(32.0)
    wave = torch.cos(2 * torch.pi * x * 6 / 32)  # 6 of 16 up to Nyquist: ring 3 of 8, from 0
    got = statistics_of(latent_sums(wave.expand(2, 4, 32, 32)))
    assert max(range(RINGS), key=lambda ring: got.spatial_spectrum[ring] or 0) == 2
    total = sum(value or 0 for value in got.spatial_spectrum)
    assert total == pytest.approx(got.spatial_spectrum[2])
    times = torch.cos(2 * torch.pi * torch.arange(8.0) * 2 / 8)
    got = statistics_of(latent_sums(times[None, :, None, None].expand(2, 8, 4, 4)))
    assert max(range(5), key=lambda k: got.temporal_spectrum[k]) == 2


def test_one_frame_and_constant_channels_have_statistics_too():
    latents = noise(2, 1, 4, 4)
    latents[1] = 3
    got = statistics_of(latent_sums(latents))
    assert got.std[1] == 0
    assert got.correlation[1] == [0, 0]
    assert got.temporal_spectrum == [1]
