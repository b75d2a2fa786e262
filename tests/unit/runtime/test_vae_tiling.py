"""The VAE in tiles: weights that sum to one, exact time, distance from the untiled result."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import WAN22_VAE, VAEShape
from wanctl.runtime.vae_tiles import MIN_TILE, OVERLAP, overlap_factor, tile_ranges
from wanctl.runtime.vae_tiling import TiledVAE

SMALL = VAEShape(dim=8)
SMALL22 = replace(WAN22_VAE, dim=8, decoder_dim=8)
REACH = 22  # latents that the decoder sees to each side
STRIDES = {SMALL: 8, SMALL22: 16}


@pytest.fixture(params=[SMALL, SMALL22], ids=["2.1", "2.2"])
def vae(request):
    """Attention inside a frame is switched off: it is the only operation on whole frames."""
    torch.manual_seed(0)
    vae = WanVAE(request.param).eval()
    for name, parameter in vae.named_parameters():
        if ".proj." in name:
            parameter.data.zero_()
    return vae


@pytest.mark.parametrize("side", [MIN_TILE, 32, 61])
@pytest.mark.parametrize("size", [5, 28, 29, 43, 60, 90, 160, 281])
def test_spans_cover_an_axis_and_share_what_margins_take(size, side):
    tiles = tile_ranges(size, side)
    assert tiles[0].start == 0
    assert tiles[-1].end == size
    assert all(tile.end - tile.start <= side for tile in tiles)
    assert all(before.end - after.start == OVERLAP for before, after in pairwise(tiles))
    assert overlap_factor(size, side) == pytest.approx(1 + (len(tiles) - 1) * OVERLAP / size)


@pytest.mark.parametrize("rows", [7, 43, 60])
def test_weights_sum_to_one_everywhere(vae, rows):
    tiled = TiledVAE(vae, MIN_TILE * STRIDES[vae.shape])
    for scale in (1, 4):
        total = torch.zeros(rows * scale, 45 * scale)
        for y, x, weight in tiled._tiles(rows, 45, scale):
            total[y.start * scale : y.end * scale, x.start * scale : x.end * scale] += weight
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_picture_that_fits_is_untouched(vae):
    stride = STRIDES[vae.shape]
    tiled = TiledVAE(vae, MIN_TILE * stride)
    latents = torch.randn(1, vae.shape.z_dim, 3, 8, 5)
    assert torch.equal(tiled.decode(latents), vae.decode(latents, chunked=True))
    video = torch.rand(1, 3, 5, 4 * stride, 8 * stride) * 2 - 1
    assert torch.equal(tiled.encode(video, chunked=True), vae.encode(video, chunked=True))


@torch.inference_mode()
def test_every_tile_is_exact_in_time(vae):
    tiled = TiledVAE(vae, MIN_TILE * STRIDES[vae.shape])
    latents = torch.randn(1, vae.shape.z_dim, 4, MIN_TILE + 2, 3)
    frames = [piece.shape[2] for piece in tiled.decode_frames(latents)]
    assert frames == [1, 4, 4, 4]
    frames = [piece.shape[2] for piece in tiled.decode_frames(latents, latent_frames=2)]
    assert frames == [5, 8]
    one = torch.cat(list(tiled.decode_frames(latents)), dim=2)
    two = torch.cat(list(tiled.decode_frames(latents, latent_frames=2)), dim=2)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_seams_are_below_what_eight_bits_show(vae):
    """And there is none where no edge is within the decoder's reach."""
    latents = torch.randn(1, vae.shape.z_dim, 2, 64, 2)
    stride = STRIDES[vae.shape]
    untiled = vae.decode(latents, chunked=True)
    tiled = TiledVAE(vae, 48 * stride).decode(latents)
    apart = (tiled - untiled).abs()
    assert 1e-5 < apart.max() < 1 / 127.5
    assert apart[..., : (tile_ranges(64, 48)[0].end - REACH) * stride, :].max() < 1e-5


@torch.inference_mode()
def test_encoding_equals_the_untiled(vae):
    stride = STRIDES[vae.shape]
    video = torch.rand(1, 3, 5, (MIN_TILE + 2) * stride, 2 * stride) * 2 - 1
    untiled = vae.encode(video, chunked=True)
    tiled = TiledVAE(vae, MIN_TILE * stride).encode(video, chunked=True)
    torch.testing.assert_close(tiled, untiled, atol=1e-3, rtol=0)


def test_tiles_that_cannot_be():
    vae = WanVAE(SMALL)
    for tile in (225, 216, 0):
        with pytest.raises(UserError, match="multiple of 8 and at least 224"):
            TiledVAE(vae, tile)
