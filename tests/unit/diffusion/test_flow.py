"""The path between video and noise and the direction of its velocity."""

import torch

from wanctl.diffusion.flow import add_noise, denoised, timesteps, velocity


def pair():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(2, 3, 2, 4, 4, generator=generator) for _ in range(2))


def test_ends_of_the_path_are_video_and_noise():
    x0, noise = pair()
    assert torch.equal(add_noise(x0, noise, torch.zeros(2)), x0)
    assert torch.equal(add_noise(x0, noise, torch.ones(2)), noise)


def test_velocity_points_from_video_to_noise():
    x0, noise = pair()
    before, after = (add_noise(x0, noise, torch.full((2,), s)) for s in (0.4, 0.6))
    assert torch.allclose((after - before) / 0.2, velocity(x0, noise), atol=1e-5)


def test_denoised_undoes_noise_with_a_level_per_item():
    x0, noise = pair()
    sigma = torch.tensor([0.25, 0.9])
    x = add_noise(x0, noise, sigma)
    assert torch.allclose(denoised(x, velocity(x0, noise), sigma), x0, atol=1e-6)


def test_timesteps_keep_fractions():
    assert timesteps(torch.tensor([0.0, 0.98849, 1.0])).tolist() == [0, 988.489990234375, 1000]
