"""Gradients of a clip that a VAE in training mode takes in chunks."""

import pytest
import torch

from wanctl.model.vae.autoencoder import VAEStream, WanVAE
from wanctl.model.variants import VAEShape

SHAPES = {
    "2.1": VAEShape(dim=4, z_dim=2, dim_mult=(1, 2, 2, 2), num_res_blocks=1,
                    latent_mean=(0.1,) * 2, latent_std=(1.5,) * 2),
    "2.2": VAEShape(dim=4, decoder_dim=4, z_dim=2, dim_mult=(1, 2, 2, 2), num_res_blocks=1, patch=2,
                    residual=True, temporal_downsample=(False, True, True),
                    latent_mean=(0.1,) * 2, latent_std=(1.5,) * 2),
}  # fmt: skip


def made(version, dtype):
    torch.manual_seed(0)
    vae = WanVAE(SHAPES[version]).to(dtype).train()
    return vae, torch.rand(1, 3, 13, 16, 16, dtype=dtype) * 2 - 1


def loss_of(vae, video, stream=None):
    """L1, and the encoder's moments so that each of its outputs has a gradient, as sums."""
    if stream is None:
        mean, logvar = vae.moments(video)
        result = vae.decode(vae.normalise(mean), clamp=False)
    else:
        mean, logvar = vae.moments(video, stream=stream.encoder)
        result = vae.decode(vae.normalise(mean), clamp=False, stream=stream.decoder)
    return (result - video).abs().sum() + 0.1 * (mean.square() + logvar.square()).sum()


def gradients(vae, losses):
    vae.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: p.grad.clone() for name, p in vae.named_parameters() if p.grad is not None}


def chunk_losses(vae, video, sizes, *, detach):
    stream = VAEStream(detach=detach)
    for chunk in video.split(sizes, dim=2):
        yield loss_of(vae, chunk, stream)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("sizes", [[5, 8], [1, 4, 8]])
@pytest.mark.parametrize("version", sorted(SHAPES))
def test_gradients_through_the_cache_are_those_of_the_whole_clip(version, sizes, checkpointing):
    vae, video = made(version, torch.float64)
    whole = gradients(vae, [loss_of(vae, video)])
    vae.checkpointing = checkpointing
    chunked = gradients(vae, [sum(chunk_losses(vae, video, sizes, detach=False))])
    assert whole.keys() == chunked.keys()
    for name, gradient in whole.items():
        error = (chunked[name] - gradient).abs().max() / gradient.abs().max()
        assert error < 1e-10, name


@pytest.mark.parametrize("version", sorted(SHAPES))
def test_a_chunk_with_a_detached_cache_is_done_before_the_next_one(version):
    vae, video = made(version, torch.float32)
    values = [loss.item() for loss in chunk_losses(vae, video, [5, 8], detach=False)]
    truncated = gradients(vae, chunk_losses(vae, video, [5, 8], detach=True))
    assert sum(values) == pytest.approx(loss_of(vae, video).item(), rel=1e-4)
    vae.checkpointing = True
    recomputed = gradients(vae, chunk_losses(vae, video, [5, 8], detach=True))
    whole = gradients(vae, [loss_of(vae, video)])
    for name, gradient in truncated.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-4, atol=1e-4)
    both = [torch.cat([g.flatten() for g in part.values()]) for part in (truncated, whole)]
    # less than the whole gradient, and in its direction: measured 0.92 and 0.95
    assert 0.7 < torch.cosine_similarity(*both, dim=0) < 0.999
