"""Two small VAEs with random weights, one in each layout and of each version."""

import pytest
import torch

from wanctl.checkpoint.save import save_vae
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape


def small(**changes):
    values = {
        "dim": 8, "z_dim": 4, "dim_mult": (1, 1, 1, 1), "num_res_blocks": 1,
        "latent_mean": (0.0,) * 4, "latent_std": (1.0,) * 4,
    }  # fmt: skip
    return VAEShape(**{**values, **changes})


@pytest.fixture(scope="session")
def small_vaes(tmp_path_factory):
    """(folder of a 2.1 VAE in the official layout, of a 2.2 VAE in that of diffusers)."""
    folder = tmp_path_factory.mktemp("vaes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_vae(WanVAE(small()), folder / "first")
        other = small(decoder_dim=8, residual=True, patch=2)
        save_vae(WanVAE(other), folder / "second", layout="diffusers")
    return folder / "first", folder / "second"
