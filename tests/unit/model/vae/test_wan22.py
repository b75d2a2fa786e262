"""The Wan 2.2 VAE against the published layout, against diffusers, and against itself in chunks."""

import hashlib

import pytest
import torch

from wanctl.checkpoint.files.tensor_files import tensor_shapes
from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.save import save_vae
from wanctl.checkpoint.vae_configs import vae_shape_from_tensors
from wanctl.model.vae.autoencoder import VideoSizeError, WanVAE
from wanctl.model.vae.wan22 import from_patches, to_patches
from wanctl.model.variants import WAN22_VAE, VAEShape

TINY = VAEShape(
    dim=8, decoder_dim=12, z_dim=48, residual=True, patch=2,
    latent_mean=WAN22_VAE.latent_mean, latent_std=WAN22_VAE.latent_std,
)  # fmt: skip


@pytest.fixture
def vae() -> WanVAE:
    torch.manual_seed(0)
    model = WanVAE(TINY).eval()
    randomise_gammas(model)
    return model


def randomise_gammas(model) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)


def random_video(frames, height=32, width=48, batch=1):
    return torch.rand(batch, 3, frames, height, width) * 2 - 1


def test_layout_is_that_of_the_published_file():
    with torch.device("meta"):
        state = WanVAE(WAN22_VAE).state_dict()
    words = sorted(
        [f"{name}:{'_'.join(map(str, value.shape))}" for name, value in state.items()] + [*state]
    )
    assert len(state) == 196
    assert hashlib.md5(",".join(words).encode()).hexdigest() == "e1de6c02cdac79f8b739f4d3698cd216"


def test_encode_and_decode_equal_diffusers(tmp_path):
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    peer = AutoencoderKLWan(
        base_dim=8, decoder_base_dim=12, z_dim=48, is_residual=True, patch_size=2,
        in_channels=12, out_channels=12, scale_factor_spatial=16,
        latents_mean=list(TINY.latent_mean), latents_std=list(TINY.latent_std),
    ).eval()  # fmt: skip
    randomise_gammas(peer)
    peer.save_pretrained(tmp_path)
    vae = load_vae(tmp_path)
    assert vae.shape == TINY
    for frames in (1, 5, 13):
        video = random_video(frames, batch=2 if frames == 5 else 1)
        with torch.inference_mode():
            mean, _ = vae.moments(video)
            expected = peer.encode(video).latent_dist.mean
            torch.testing.assert_close(mean, expected, atol=2e-5, rtol=0)
            decoded = vae.decode(vae.normalise(mean))
            torch.testing.assert_close(decoded, peer.decode(expected).sample, atol=2e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_chunks_equal_the_whole_clip(vae, frames):
    video = random_video(frames, batch=2)
    with torch.inference_mode():
        latents = vae.encode(video)
        assert latents.shape == (2, 48, (frames - 1) // 4 + 1, 2, 3)
        torch.testing.assert_close(vae.encode(video, chunked=True), latents, atol=1e-5, rtol=0)
        at_once = vae.decode(latents)
        assert at_once.shape == video.shape
        torch.testing.assert_close(vae.decode(latents, chunked=True), at_once, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", ["official", "diffusers"])
def test_saved_and_loaded_it_is_the_same(vae, layout, tmp_path):
    save_vae(vae, tmp_path, layout=layout)
    again = load_vae(tmp_path)
    assert again.shape == vae.shape
    for name, value in vae.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_file_without_config_tells_its_sizes(vae, tmp_path):
    save_vae(vae, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    assert vae_shape_from_tensors(tensor_shapes(file), "here") == TINY


def test_patches_run_columns_slower_than_rows():
    video = torch.arange(4.0).view(1, 1, 1, 2, 2)  # rows (0, 1), (2, 3)
    patches = to_patches(video, 2)
    assert patches.flatten().tolist() == [0, 2, 1, 3]
    assert torch.equal(from_patches(patches, 2), video)


def test_sides_are_multiples_of_16(vae):
    with pytest.raises(VideoSizeError, match="multiples of 16"):
        vae.encode(random_video(5, height=24))
