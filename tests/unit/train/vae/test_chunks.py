"""Training on clips that are longer than a chunk."""

import json

import pytest
import torch

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.recipe.train.vae import TrainVAESection
from wanctl.train.inputs.windows import Shape
from wanctl.train.loop import train
from wanctl.train.rng import MicrobatchIndex
from wanctl.train.vae.chunks import clip_chunks
from wanctl.train.vae.objective import VAEObjective

CPU = torch.device("cpu")


@pytest.fixture
def objective(memory_footage, loss_weights):
    def build(chunk_frames, frames=13, **terms):
        torch.manual_seed(0)
        shape = VAEShape(dim=4, z_dim=2, dim_mult=(1, 2, 2, 2), num_res_blocks=1,
                         latent_mean=(0.0,) * 2, latent_std=(1.0,) * 2)  # fmt: skip
        return VAEObjective(
            WanVAE(shape).train(),
            memory_footage(Shape(frames, 32, 32), batch_size=1),
            loss_weights(**terms),
            fps=8,
            metadata={},
            keep_statistics=False,
            chunk_frames=chunk_frames,
        )

    return build


def step(objective):
    """Figures of a micro-batch as the loop adds them up, and the gradient."""
    microbatch = MicrobatchIndex(0, 0, 0)
    batch = objective.batch(microbatch)
    models = {name: network.module for name, network in objective.networks.items()}
    figures, shares = {}, []
    for part in objective.losses("model", models, batch, microbatch, CPU):
        part.per_sample.mean().mul(part.share).backward()
        shares.append((part.share, part.last))
        for name, value in {"loss": part.per_sample.detach(), **part.parts}.items():
            figures[name] = figures.get(name, 0) + value.mean().item() * part.share
    gradient = torch.cat([p.grad.flatten() for p in objective.vae.parameters()])
    return figures, shares, gradient


def test_a_clip_is_cut_after_whole_latent_frames():
    chunks = clip_chunks(25, 9, 4)
    assert [(c.frames.start, c.frames.stop) for c in chunks] == [(0, 9), (9, 17), (17, 25)]
    assert [(c.latents.start, c.latents.stop) for c in chunks] == [(0, 3), (3, 5), (5, 7)]
    assert [c.last for c in chunks] == [False, False, True]
    assert sum(c.share for c in chunks) == pytest.approx(1)
    assert sum(c.latent_share for c in chunks) == pytest.approx(1)
    assert [c.frames.stop for c in clip_chunks(21, 9, 4)] == [9, 17, 21]  # a shorter last one


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_a_clip_that_is_not_longer_than_a_chunk_stays_whole(frames):
    (chunk,) = clip_chunks(frames, 9, 4)
    assert chunk == clip_chunks(frames, None, 4)[0]
    assert chunk.share == chunk.kl_scale("position") == chunk.kl_scale("sample") == 1


@pytest.mark.parametrize("reduction", ["position", "sample", "mean"])
@pytest.mark.parametrize("frames", [None, 1, 3])
def test_the_chunks_losses_add_up_to_that_of_the_clip(objective, reduction, frames):
    terms = {
        "kl": {"weight": 0.01, "reduction": reduction},
        "perceptual": {"weight": 1, "frames": frames},
    }
    whole, _, gradient = step(objective(None, **terms))
    chunked, shares, truncated = step(objective(5, **terms))
    assert [last for _, last in shares] == [False, False, True]
    assert chunked.keys() == whole.keys() >= {"loss", "l1", "kl", "perceptual", "psnr"}
    for name, value in whole.items():
        assert chunked[name] == pytest.approx(value, rel=1e-4), name
    assert 0.2 < torch.cosine_similarity(gradient, truncated, dim=0) < 0.9999  # 0.49 and more


def test_short_clips_take_the_same_step_with_and_without_chunks(objective):
    (a, _, first), (b, _, second) = step(objective(None, 5)), step(objective(5, 5))
    assert a == b
    assert torch.equal(first, second)


def test_a_vae_that_was_trained_in_chunks_codes_clips_whole_and_in_chunks_alike(
    objective, tmp_path, loop_options, optimizer_options
):
    trained = objective(5, perceptual=0)
    options = loop_options(steps=8, optimizer=optimizer_options(lr=5e-3), ema_decay=0.9)
    result = train(trained, tmp_path, options, device=CPU)
    vae = trained.vae.eval()
    video = torch.rand(1, 3, 13, 32, 32) * 2 - 1
    with torch.inference_mode():
        latents = vae.encode(video)
        pieces = vae.encode(video, chunked=True)
        torch.testing.assert_close(pieces, latents, rtol=0, atol=1e-5)
        whole, chunked = vae.decode(latents), vae.decode(latents, chunked=True)
        torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-5)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    first = next(line["loss"] for line in lines if line["step"] == 1)
    assert result.loss < 0.9 * first


def test_the_recipe_takes_whole_latent_frames_and_no_single_images():
    TrainVAESection(chunk_frames=17)
    for wrong in (1, 16):
        with pytest.raises(ValueError, match="chunk_frames"):
            TrainVAESection(chunk_frames=wrong)
