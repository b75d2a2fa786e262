"""What is measured at evaluations and when a VAE is saved, whatever precision it is trained in."""

import pytest
import torch

from wanctl.metrics.perceptual import PerceptualDistance
from wanctl.metrics.reconstruction import reconstruction_measures
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.train.evaluation.shared import means
from wanctl.train.inputs.encode import encode_window
from wanctl.train.inputs.windows import ClipWindow, Shape, read_video
from wanctl.train.vae import losses
from wanctl.train.vae.evaluation import VAEEvaluation
from wanctl.train.vae.latent_statistics import measure_latents

CPU = torch.device("cpu")
SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 1, 1), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4,
)  # fmt: skip
AUTOCAST = torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return WanVAE(SHAPE).eval().requires_grad_(False)


def test_statistics_are_those_of_the_latents_in_the_cache(vae, memory_footage):
    footage = memory_footage(Shape(5, 32, 48))
    windows = footage.training_windows()
    cached = torch.stack([encode_window(vae, footage, each, CPU) for each in windows])
    channels = cached.double().transpose(0, 1).flatten(1)
    with AUTOCAST:
        mean, std = measure_latents(vae, footage, windows, CPU)
    # in bfloat16 they differ in the third digit
    assert mean == pytest.approx(channels.mean(1).tolist(), rel=1e-5)
    assert std == pytest.approx(channels.std(1, correction=0).tolist(), rel=1e-5)


def test_an_evaluation_averages_measures_of_its_windows_in_full_precision(vae, memory_footage):
    footage = memory_footage(Shape(5, 32, 48))
    footage.eval_windows = lambda: [
        ClipWindow("0", Shape(5, 32, 48), 0), ClipWindow("1", Shape(5, 32, 48), 2),
    ]  # fmt: skip
    distance = PerceptualDistance()
    noise = 0.1 * torch.randn(1, 3, 5, 32, 48)
    with AUTOCAST:
        evaluation = VAEEvaluation(footage, distance)
        measured = [
            evaluation.measure(vae, lambda video: video + noise, window, CPU)
            for window in footage.eval_windows()
        ]
    got = means(measured)
    expected = []
    for window in footage.eval_windows():
        video = read_video(footage, window)
        figures = reconstruction_measures(
            video + noise[0], video, temporal_stride=4, spatial_stride=8,
            distances={"st_lpips": distance},
        )  # fmt: skip
        expected.append(figures | {"l1": losses.l1(video[None] + noise, video[None]).item()})
    for name in ("psnr", "ssim", "st_lpips", "flicker", "seam_time", "seam_space", "l1"):
        assert got[name] == pytest.approx((expected[0][name] + expected[1][name]) / 2, rel=1e-6)
    assert got["perceptual"] == got["st_lpips"]


def test_images_have_no_measures_over_time_and_a_missing_package_is_left_out(
    vae, memory_footage, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    footage = memory_footage(Shape(1, 32, 48))
    (window,) = footage.eval_windows()
    got = VAEEvaluation(footage, None).measure(vae, lambda video: video * 0.9, window, CPU)
    assert set(got) == {"l1", "psnr", "ssim", "seam_space"}
