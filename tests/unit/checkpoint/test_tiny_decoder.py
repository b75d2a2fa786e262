"""Tiny decoders on disk: own folders, files laid out like the published ones, and broken ones."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.tiny_decoder import (
    load_output_vae,
    load_tiny_decoder,
    load_tiny_vae,
    read_output_vae_shape,
    save_tiny_decoder,
    tiny_decoder_files,
)
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape
from wanctl.model.vae.tiny_encoder import TinyEncoder, TinyEncoderShape
from wanctl.model.vae.tiny_vae import TinyVAE
from wanctl.model.variants import WAN21_LATENT_STD

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


ENCODER = TinyEncoderShape(width=8)


def published(path, encoder=ENCODER, decoder=SHAPES["2.1"], **others):
    """A file as TAEHV's: both networks under its names, in half precision."""
    networks = TinyEncoder(encoder), random_decoder(decoder)
    tensors = {k: v.half() for network in networks for k, v in network.state_dict().items()}
    tensors |= others
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (ENCODER, SHAPES["2.1"]),
        (TinyEncoderShape(z_dim=48, patch=2, width=8), SHAPES["2.2"]),
    ],
)
def test_a_published_file_stands_in_for_a_vae(encoder, decoder, suffix, tmp_path):
    file = published(tmp_path / f"renamed.{suffix}", encoder, decoder)
    components = Components(file, "official", vae=tiny_decoder_files(file))
    vae = load_output_vae(components)
    assert isinstance(vae, TinyVAE)
    assert vae.encoder.shape == encoder
    assert vae.shape == read_output_vae_shape(components)
    video = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    with torch.inference_mode():
        assert vae.decode(vae.encode(video)).shape == video.shape
    stored = load_tiny_decoder(file)
    assert same(vae.decoder, stored)
    folder = tmp_path / "folder"
    save_tiny_decoder(stored, folder)
    alone = load_tiny_vae(tiny_decoder_files(folder))
    assert alone.encoder is None
    assert same(alone.decoder, stored)


def test_names_tell_which_latents_a_file_takes(tmp_path):
    plain = load_tiny_vae([published(tmp_path / "taew2_1.safetensors")])
    scaled = load_tiny_vae([published(tmp_path / "lighttaew2_1.safetensors")])
    assert plain.shape.latent_std == (1.0,) * 16
    assert scaled.shape.latent_std == WAN21_LATENT_STD
    with pytest.raises(WeightsError, match="tiny decoder of HunyuanVideo, whose latents are oth"):
        load_tiny_vae([published(tmp_path / "taehv.pth")])


def test_a_growth_that_wans_latents_do_not_have_gives_its_last_frame(tmp_path):
    grown = torch.cat([torch.zeros(16, 16, 1, 1), torch.eye(16)[:, :, None, None]])
    file = published(tmp_path / "taew.pth", **{"decoder.7.conv.weight": grown.half()})
    decoder = load_tiny_vae([file]).decoder
    assert decoder.shape.time == (1, 2, 2)
    assert torch.equal(decoder.state_dict()["decoder.7.conv.weight"][:, :, 0, 0], torch.eye(16))


def test_an_encoder_of_another_model_is_refused(tmp_path):
    file = published(tmp_path / "mixed.pth", TinyEncoderShape(z_dim=48, patch=2, width=8))
    with pytest.raises(WeightsError, match="its encoder and its decoder are not of one model"):
        load_tiny_vae([file])
    state = torch.load(published(tmp_path / "half.pth"))
    del state["encoder.17.weight"]
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"no tensor 'encoder\.17\.weight'"):
        load_tiny_vae([tmp_path / "half.pth"])


def test_files_are_found_by_their_tensors(tmp_path):
    file = published(tmp_path / "anything.pth")
    assert tiny_decoder_files(file) == tiny_decoder_files(tmp_path) == (file,)
    published(tmp_path / "second.pth")
    assert tiny_decoder_files(tmp_path) is None
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    assert tiny_decoder_files(tmp_path / "other.safetensors") is None
