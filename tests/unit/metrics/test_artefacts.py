"""Flicker and seams of known size, put into errors by hand."""

import pytest
import torch

from wanctl.metrics.artefacts import LEVELS, flicker, spatial_seams, temporal_seams
from wanctl.metrics.reconstruction import reconstruction_measures


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def half_still(frames=9, size=48):
    """Left half: a still ramp. Right half: noise that is new in each frame."""
    source = torch.linspace(-0.5, 0.5, size).expand(3, frames, size, size).clone()
    source[..., size // 2 :] = 0.4 * noise(3, frames, size, size // 2)
    return source.clamp(-1, 1)


def test_flicker_is_the_injected_amplitude_in_still_areas_only():
    source = half_still()
    error = torch.zeros_like(source)
    error[:, ::2, :, :20] = 3 / LEVELS  # three grey levels up and down again
    error[..., 28:] = noise(3, 9, 48, 20)  # in motion, where nobody sees it
    # 20 columns are still: two windows of 5 px keep away from the motion that begins at 24
    assert flicker(error, source) == pytest.approx(3, rel=1e-5)
    assert flicker(torch.full_like(source, 0.3), source) == pytest.approx(0, abs=1e-6)


def test_grain_of_the_source_is_no_motion():
    source = torch.zeros(3, 5, 32, 32) + noise(3, 5, 32, 32) * 1.5 / LEVELS
    error = torch.zeros_like(source)
    error[:, 1::2] = 2 / LEVELS
    assert flicker(error, source) == pytest.approx(2, rel=1e-4)


def test_without_a_still_area_or_a_second_frame_there_is_no_flicker():
    moving = noise(3, 5, 32, 32)
    assert flicker(moving, moving) is None
    assert flicker(moving[:, :1], moving[:, :1]) is None


def test_an_offset_of_every_fourth_frame_is_found_by_its_energy():
    error = 0.01 * noise(3, 33, 32, 32)
    assert temporal_seams(error, 4) == pytest.approx(1, abs=0.03)
    chunk = (torch.arange(33) + 3) // 4  # 0 | 1 to 4 | 5 to 8 | ...
    error += 0.02 * (chunk % 2)[None, :, None, None]
    # noise of variance s^2 changes by 2 s^2, borders by a^2 more
    assert temporal_seams(error, 4) == pytest.approx(1 + 0.02**2 / (2 * 0.01**2), rel=0.03)
    assert temporal_seams(error.roll(2, dims=1), 4) == pytest.approx(0.5, abs=0.2)
    assert temporal_seams(error[:, :1], 4) is None


@pytest.mark.parametrize(("axis", "stride"), [(2, 8), (3, 8), (3, 16)])
def test_an_offset_of_every_block_is_found_by_its_energy(axis, stride):
    error = 0.01 * noise(3, 3, 96, 96)
    assert spatial_seams(error, stride) == pytest.approx(1, abs=0.03)
    block = (torch.arange(96) // stride % 2 * 0.02).reshape(
        [-1 if d == axis else 1 for d in range(4)]
    )
    error = error + block
    # of the borders of both axes one half has the offset
    assert spatial_seams(error, stride) == pytest.approx(
        1 + 0.5 * 0.02**2 / (2 * 0.01**2), rel=0.03
    )


def test_a_perfect_reconstruction_has_no_artefacts():
    source = half_still(frames=5)
    measures = reconstruction_measures(
        source, source, temporal_stride=4, spatial_stride=8,
        distances={"st_lpips": lambda x, y: (x - y).abs().mean(dim=(1, 2, 3))},
    )  # fmt: skip
    assert measures["psnr"] > 100
    assert measures == pytest.approx(
        {"psnr": measures["psnr"], "ssim": 1, "st_lpips": 0, "flicker": 0, "seam_time": 1,
         "seam_space": 1},
        abs=1e-5,
    )  # fmt: skip
