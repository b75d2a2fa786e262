"""The VAE that training starts with: weights that the recipe names, or random ones."""

import torch

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_vae
from wanctl.log import log
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant
from wanctl.train.copied import copied_from_file
from wanctl.train.rng import keyed_seed
from wanctl.train.vae.inflation import start_as_image_vae

START_LOG_VARIANCE = -6.0


def start_vae(variant: Variant, ref: str | None, seed: int) -> tuple[WanVAE, bool]:
    """The VAE to train, and whether it came with weights (and so with latent statistics).

    Args:
        variant: sizes of a VAE with random weights.
        ref: weights that the recipe names; None, or without a VAE, for random ones.
        seed: of the random weights.
    """
    if ref is not None:
        components = find_components(ref)
        if components.vae is not None:
            log.info("train-vae: starting from %s", components.vae[0])
            return copied_from_file(load_vae(components)), True
        log.info("train-vae: %s holds no VAE; starting from random weights", ref)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "vae"))
        vae = WanVAE(variant.vae)
    start_as_image_vae(vae)
    with torch.no_grad():
        # A fresh encoder would hide its small means under unit noise: after 40 steps on images it
        # reaches 12.4 dB; with this start 16.7 dB.
        vae.log_variance_bias.fill_(START_LOG_VARIANCE)
    return vae, False
