"""A tiny decoder that learns a VAE's decoder: what it learns from, and that it comes closer."""

import numpy as np
import pytest
import torch

from wanctl.checkpoint.tiny_decoder import load_tiny_decoder
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import shape_for
from wanctl.model.variants import VAEShape
from wanctl.train.accelerator import Processes
from wanctl.train.evaluation.shared import evaluate, write_previews
from wanctl.train.inputs.windows import read_video
from wanctl.train.loop import train
from wanctl.train.rng import MicrobatchIndex
from wanctl.train.vae import losses
from wanctl.train.vae.distill.objective import DistillObjective, start_tiny_decoder
from wanctl.video.image_files import read_image

CPU = torch.device("cpu")
SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 2, 2), num_res_blocks=1,
    latent_mean=(0.1,) * 4, latent_std=(0.5,) * 4,
)  # fmt: skip


@pytest.fixture
def objective(loss_weights, memory_footage):
    def build(**weights):
        torch.manual_seed(0)
        return DistillObjective(
            start_tiny_decoder(shape_for(SHAPE, 32), seed=0),
            WanVAE(SHAPE),
            memory_footage(),
            loss_weights(**{"l1": 1.0, "perceptual": 0.0, **weights}),
            fps=8,
            metadata={"recipe": "x"},
        )

    return build


def loss_of(objective, microbatch=MicrobatchIndex(0, 0, 0)):  # noqa: B008
    models = {"tiny_decoder": objective.decoder}
    batch = objective.batch(microbatch)
    (found,) = objective.losses("tiny_decoder", models, batch, microbatch, CPU)
    return found


def test_the_tiny_decoder_comes_closer_to_the_vae_which_stays_as_it_is(
    objective, tmp_path, loop_options, optimizer_options
):
    trained = objective()
    weights = {name: value.clone() for name, value in trained.vae.state_dict().items()}
    before = evaluate(trained, Processes(CPU))
    options = loop_options(steps=40, optimizer=optimizer_options(lr=3e-3), ema_decay=0.5)
    result = train(trained, tmp_path, options, device=CPU)
    assert result.figures["psnr"] > before["psnr"] + 3
    assert result.figures["vae_footage_psnr"] == pytest.approx(before["vae_footage_psnr"])
    assert all(torch.equal(value, weights[n]) for n, value in trained.vae.state_dict().items())
    assert trained.saved_step(tmp_path) == 40
    saved, window = load_tiny_decoder(tmp_path), trained.footage.eval_windows()[0]
    with torch.no_grad():
        latents = trained.vae.encode(read_video(trained.footage, window)[None])
        psnr = losses.psnr(saved.decode(latents), trained.vae.decode(latents))
    assert psnr.item() == pytest.approx(result.figures["psnr"], abs=1e-3)


def test_loss_compares_with_the_vaes_decode_of_the_posteriors_mean(objective):
    trained = objective(l1=2.0, perceptual={"weight": 0.5, "frames": 1})
    found = loss_of(trained)
    video = torch.from_numpy(trained.batch(MicrobatchIndex(0, 0, 0)).numpy()).movedim(-1, 1)
    with torch.no_grad():
        latents = trained.vae.encode(video / 127.5 - 1)
        difference = trained.decoder(latents) - trained.vae.decode(latents)
    torch.testing.assert_close(found.parts["l1"], difference.abs().flatten(1).mean(1))
    total = 2 * found.parts["l1"] + 0.5 * found.parts["perceptual"]
    torch.testing.assert_close(found.per_sample.detach(), total)
    assert found.parts.keys() == {"l1", "perceptual", "psnr"}


def test_previews_show_footage_over_the_vae_over_the_tiny_decoder(objective, tmp_path):
    trained = objective()
    with torch.no_grad():
        sheet = write_previews(trained, tmp_path, 3, Processes(CPU))
        window = max(trained.footage.eval_windows(), key=lambda window: window.shape)
        video = read_video(trained.footage, window)[None]
        latents = trained.vae.encode(video)
        rows = [video, trained.vae.decode(latents), trained.decoder.decode(latents)]
    height, width = window.shape[1:]
    shown = np.asarray(read_image(sheet))[: 3 * height, :width]
    expected = torch.cat([row[0, :, 0] for row in rows], dim=1).permute(1, 2, 0)
    assert np.abs(shown - 127.5 * (expected.numpy() + 1)).max() <= 1
