"""Which VAEs are loaded, and how tiny decoders stand in for a VAE's own decoder."""

import pytest
import torch

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.tiny_decoder import load_tiny_decoder, save_tiny_decoder
from wanctl.eval.vae.networks import CodingOptions, common_multiple, load_vaes, reconstruct
from wanctl.model.shapes import PixelShape
from wanctl.model.vae.tiny_decoder import TinyDecoder, shape_for

FP32 = torch.float32


@pytest.fixture
def tiny(small_vaes, tmp_path):
    torch.manual_seed(0)
    decoder = TinyDecoder(shape_for(load_vae(small_vaes[0]).shape, width=8))
    save_tiny_decoder(decoder, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_tiny_decoder_takes_the_latents_of_the_vae_it_fits(small_vaes, tiny, chunked):
    first, second = small_vaes
    names = [str(each) for each in (tiny, second, first)]
    vaes = load_vaes(names, FP32)
    assert [each.name for each in vaes] == names
    assert common_multiple(vaes) == 16
    options = CodingOptions(torch.device("cpu"), FP32, chunked)
    video = torch.rand(3, 9, 32, 48) * 2 - 1
    latents, decoded = reconstruct(vaes[0].vae, video, options)
    with torch.no_grad():
        expected = load_vae(first).encode(video[None])
        torch.testing.assert_close(latents[None], expected, rtol=0, atol=1e-4)
        expected = load_tiny_decoder(tiny).decode(expected)
    torch.testing.assert_close(decoded[None], expected, rtol=0, atol=1e-4)
    assert len({each.key for each in vaes}) == 3
    encoder = sum(p.numel() for p in vaes[2].vae.encoder.parameters())
    assert encoder < vaes[0].num_parameters < vaes[2].num_parameters


def test_a_tiny_decoder_without_its_vae_is_named(small_vaes, tiny):
    with pytest.raises(WeightsError, match=r"tiny: is a tiny decoder .* 4 channels.* VAE as well"):
        load_vaes([str(tiny), str(small_vaes[1])], FP32)


def test_large_videos_are_coded_in_chunks_unless_told():
    cpu = torch.device("cpu")
    small, large = PixelShape(17, 256, 256), PixelShape(17, 256, 272)
    assert not CodingOptions(cpu, FP32, None).in_chunks(small)
    assert CodingOptions(cpu, FP32, None).in_chunks(large)
    assert not CodingOptions(cpu, FP32, False).in_chunks(large)
