"""Tiny decoders on disk: own folders, files laid out like the published ones, and broken ones."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.tiny_decoder import load_tiny_decoder, save_tiny_decoder
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape

SHAPES = {
    "2.1": TinyDecoderShape(widths=(16, 8, 4, 4)),
    "2.2": TinyDecoderShape(z_dim=48, patch=2, widths=(16, 8, 4, 4)),
    "other strides": TinyDecoderShape(
        z_dim=4, widths=(8, 8, 4, 4), time=(1, 1, 2), space=(1, 2, 2)
    ),
}


def random_decoder(shape=SHAPES["2.1"]):
    torch.manual_seed(0)
    return TinyDecoder(shape).eval()


def same(one, other):
    latents = torch.randn(1, one.shape.z_dim, 2, 2, 2)
    with torch.inference_mode():
        return torch.equal(one.decode(latents), other.decode(latents))


@pytest.mark.parametrize("name", SHAPES)
def test_a_folder_gives_the_decoder_back(name, tmp_path):
    decoder = random_decoder(SHAPES[name])
    save_tiny_decoder(decoder, tmp_path, metadata={"step": "3"})
    loaded = load_tiny_decoder(tmp_path)
    assert loaded.shape == decoder.shape
    assert same(loaded, decoder)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("name", ["2.1", "2.2"])
def test_published_files_load_without_their_encoder(name, suffix, tmp_path, caplog):
    decoder, path = random_decoder(SHAPES[name]), tmp_path / f"taew.{suffix}"
    tensors = {**decoder.state_dict(), "encoder.0.weight": torch.zeros(64, 3, 3, 3)}
    tensors = {key: value.half() for key, value in tensors.items()}
    save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    with caplog.at_level(logging.INFO):
        loaded = load_tiny_decoder(path)
    assert "its encoder (1 tensors) is left out" in caplog.text
    assert loaded.shape == decoder.shape
    assert same(loaded, decoder.half().float())


def test_what_is_no_tiny_decoder_is_refused_in_one_line(tmp_path):
    state = random_decoder().state_dict()
    broken = {
        "no tensor 'decoder.7.conv.weight'": {k: v for k, v in state.items() if ".7." not in k},
        "unexpected .decoder.3.norm.weight": {**state, "decoder.3.norm.weight": torch.ones(4)},
        "not finite|NaN|infinity": {**state, "decoder.1.bias": torch.full((16,), torch.nan)},
        "not kernels of images": {**state, "decoder.1.weight": torch.ones(16, 16)},
    }
    for says, tensors in broken.items():
        save_file(tensors, tmp_path / "taew.safetensors")
        with pytest.raises(WeightsError, match=says) as error:
            load_tiny_decoder(tmp_path / "taew.safetensors")
        assert "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="holds no tiny decoder"):
        load_tiny_decoder(tmp_path / "missing")
