"""The VAE in tiles: weights that sum to one, exact time, and how far tiles are from the whole."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from wanctl.errors import UserError
from wanctl.model.tiling import TiledVAE, _spans, tiles_of
from wanctl.model.vae import WanVAE
from wanctl.model.variants import WAN22_VAE, VAEShape

SMALL = VAEShape(dim=8)
SMALL22 = replace(WAN22_VAE, dim=8, decoder_dim=8)
STRIDES = {SMALL: 8, SMALL22: 16}


@pytest.fixture(params=[SMALL, SMALL22], ids=["2.1", "2.2"])
def vae(request):
    """Attention inside a frame is switched off: it is the one thing that sees the whole picture."""
    torch.manual_seed(0)
    vae = WanVAE(request.param).eval()
    for name, parameter in vae.named_parameters():
        if ".proj." in name:
            parameter.data.zero_()
    return vae


@pytest.mark.parametrize("side", [8, 9, 16, 33])
@pytest.mark.parametrize("size", [5, 8, 9, 20, 33, 34, 90, 160])
def test_spans_cover_an_axis_with_a_quarter_shared(size, side):
    spans = _spans(size, side)
    assert spans[0].start == 0
    assert spans[-1].end == size
    assert all(span.end - span.start <= side for span in spans)
    for before, after in pairwise(spans):
        assert before.end - after.start == side // 4
    for before, after in zip(spans, spans[2:], strict=False):
        assert before.end <= after.start


@pytest.mark.parametrize("rows", [7, 30])
def test_weights_sum_to_one_everywhere(vae, rows):
    tiled = TiledVAE(vae, 8 * STRIDES[vae.shape])
    for scale in (1, 4):
        total = torch.zeros(rows * scale, 19 * scale)
        for y, x, weight in tiled._tiles(rows, 19, scale):
            total[y.start * scale : y.end * scale, x.start * scale : x.end * scale] += weight
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_picture_that_fits_is_untouched(vae):
    stride = STRIDES[vae.shape]
    tiled = TiledVAE(vae, 8 * stride)
    latents = torch.randn(1, vae.shape.z_dim, 3, 8, 5)
    assert torch.equal(tiled.decode(latents), vae.decode(latents, chunked=True))
    video = torch.rand(1, 3, 5, 4 * stride, 8 * stride) * 2 - 1
    assert torch.equal(tiled.encode(video, chunked=True), vae.encode(video, chunked=True))


@torch.inference_mode()
def test_every_tile_is_exact_in_time(vae):
    """A flat picture has no space to speak of away from its edges: only time is left."""
    stride = STRIDES[vae.shape]
    tiled = TiledVAE(vae, 8 * stride)
    latents = torch.randn(1, vae.shape.z_dim, 4, 14, 6)
    frames = [piece.shape[2] for piece in tiled.decode_frames(latents)]
    assert frames == [1, 4, 4, 4]
    frames = [piece.shape[2] for piece in tiled.decode_frames(latents, latent_frames=2)]
    assert frames == [5, 8]
    one = torch.cat(list(tiled.decode_frames(latents)), dim=2)
    two = torch.cat(list(tiled.decode_frames(latents, latent_frames=2)), dim=2)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_what_no_edge_reaches_is_exact(vae):
    """Rows further from a tile's edge than the decoder sees are those of the whole picture."""
    # One row of tiles and then another: 24 rows between the first tile's top and its last rows.
    latents = torch.randn(1, vae.shape.z_dim, 2, 96, 2)
    stride = STRIDES[vae.shape]
    whole = vae.decode(latents, chunked=True)
    tiled = TiledVAE(vae, 64 * stride).decode(latents)
    reach = 22 * stride
    first = _spans(96, 64)[0].end * stride
    shared = 16 * stride
    torch.testing.assert_close(
        tiled[..., : first - shared - reach, :], whole[..., : first - shared - reach, :],
        atol=1e-5, rtol=0,
    )  # fmt: skip
    assert (tiled - whole).abs().max() > 1e-4  # across the seam it is not exact


@torch.inference_mode()
def test_encoding_meets_the_whole_away_from_seams(vae):
    stride = STRIDES[vae.shape]
    video = torch.rand(1, 3, 5, 14 * stride, 8 * stride) * 2 - 1
    whole = vae.encode(video, chunked=True)
    tiled = TiledVAE(vae, 8 * stride).encode(video, chunked=True)
    assert tiled.shape == whole.shape
    assert (tiled - whole).abs().mean() < 0.1 * whole.abs().mean()


def test_tiles_that_cannot_be():
    vae = WanVAE(SMALL)
    for tile in (60, 56, 0):
        with pytest.raises(UserError, match="multiple of 8 and at least 64"):
            TiledVAE(vae, tile)
    assert tiles_of(60, 104, 32) == 3 * 4
