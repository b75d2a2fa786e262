import dataclasses

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file

from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.save import save_vae
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import WAN22_VAE, VAEShape

FILE = "diffusion_pytorch_model.safetensors"
SHAPES = {
    "narrow": VAEShape(dim=8),
    "other": VAEShape(
        dim=8, z_dim=4, dim_mult=(1, 2, 2), num_res_blocks=1, temporal_downsample=(True, False),
        latent_mean=(0.5,) * 4, latent_std=(2.0,) * 4,
    ),
}  # fmt: skip


def random_vae(name: str) -> WanVAE:
    torch.manual_seed(0)
    return WanVAE(SHAPES[name]).eval()


@pytest.mark.parametrize("name", SHAPES)
def test_official_to_diffusers_and_back_is_bit_equal(tmp_path, name):
    vae = random_vae(name)
    save_vae(vae, tmp_path / "diffusers", layout="diffusers")
    again = load_vae(tmp_path / "diffusers")
    assert again.shape == vae.shape
    save_vae(again, tmp_path / "official")
    stored = load_file(tmp_path / "official" / FILE)
    assert stored.keys() == vae.state_dict().keys()
    assert all(torch.equal(t, stored[n]) for n, t in vae.state_dict().items())


@pytest.mark.parametrize("name", SHAPES)
def test_diffusers_reads_what_is_saved_for_it(tmp_path, name):
    vae = random_vae(name)
    save_vae(vae, tmp_path, layout="diffusers")
    theirs = AutoencoderKLWan.from_pretrained(tmp_path).eval()
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    with torch.no_grad():
        expected = theirs.encode(video).latent_dist.mode()
        got, _ = vae.moments(video)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


def test_published_pth_has_no_config_and_its_tensors_give_the_sizes(tmp_path):
    vae = random_vae("narrow")
    torch.save(vae.state_dict(), tmp_path / "Wan2.1_VAE.pth")
    assert load_vae(tmp_path).shape == vae.shape


def test_unknown_statistics_are_neutral(tmp_path):
    vae = random_vae("other")
    save_vae(vae, tmp_path)
    (tmp_path / "config.json").unlink()
    loaded = load_vae(tmp_path / FILE)
    neutral = {"latent_mean": (0.0,) * 4, "latent_std": (1.0,) * 4}
    assert loaded.shape == dataclasses.replace(vae.shape, **neutral)


@pytest.mark.parametrize(
    ("shape", "millions"),
    [
        (VAEShape(dim=24), 8.04),
        (dataclasses.replace(WAN22_VAE, decoder_dim=128), None),
        (dataclasses.replace(WAN22_VAE, decoder_dim=64), None),
    ],
    ids=["LightVAE", "half decoder", "quarter decoder"],
)
def test_pruned_vaes_need_no_config(tmp_path, shape, millions):
    """LightVAE has a quarter of 2.1's widths; MG-LightVAE a smaller decoder by 2.2's encoder."""
    with torch.device("meta"):
        sizes = {name: tensor.shape for name, tensor in WanVAE(shape).state_dict().items()}
    if millions:
        assert round(sum(size.numel() for size in sizes.values()) / 1e6, 2) == millions
    else:  # at an eighth of the width, which is quicker
        shape = dataclasses.replace(shape, dim=20, decoder_dim=shape.decoder_dim // 8)
    torch.manual_seed(0)
    vae = WanVAE(shape).eval()
    torch.save({n: t.bfloat16() for n, t in vae.state_dict().items()}, tmp_path / "light.pth")
    loaded = load_vae(tmp_path / "light.pth")
    assert loaded.shape == vae.shape
    latents = torch.randn(1, shape.z_dim, 2, 2, 2)
    with torch.inference_mode():
        assert loaded.decode(latents).shape == (1, 3, 5, *[2 * vae.spatial_stride] * 2)
        torch.testing.assert_close(
            loaded.decode(latents), vae.bfloat16().float().decode(latents), atol=1e-5, rtol=0
        )
