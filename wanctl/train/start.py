"""Networks that training starts with: initial weights, the frozen VAE and the text encoder."""

from typing import TypeVar

import torch
from torch import nn

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.encoders.text import TextEncoder, load_text_encoder
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant
from wanctl.train.rng import keyed_seed

Network = TypeVar("Network", bound=nn.Module)

START_LOG_VARIANCE = -6.0


class StartError(UserError):
    """Two networks that training needs do not fit together."""


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
            return _copied_from_file(load_vae(components)), True
        log.info("train-vae: %s holds no VAE; starting from random weights", ref)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "vae"))
        vae = WanVAE(variant.vae)
    with torch.no_grad():
        # A fresh encoder would hide its small means under unit noise: after 40 steps on images it
        # reaches 12.4 dB; with this start 16.7 dB.
        vae.log_variance_bias.fill_(START_LOG_VARIANCE)
    return vae, False


def start_dit(
    variant: Variant, ref: str | None, precision: str, seed: int, *, strict: bool = False
) -> WanModel:
    """The transformer to train, in fp32: mixed precision keeps fp32 weights.

    Args:
        variant: sizes of a transformer with random weights.
        ref: weights that the recipe names; None, or without a transformer, for random ones.
        precision: see `WanModel`.
        seed: of the random weights.
        strict: see `load_dit`.
    """
    if ref is not None:
        components = find_components(ref)
        if components.dit is not None:
            log.info("train-dit: starting from %s", components.dit[0].parent)
            return _copied_from_file(load_dit(components, precision=precision, strict=strict))
        log.info("train-dit: %s holds no transformer; starting from random weights", ref)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "dit"))
        return WanModel(variant.dit, precision)


def _copied_from_file(network: Network) -> Network:
    """Copy parameters out of the memory-mapped file.

    Their address decides the last bit of a matrix product (measured 1.5e-7 relative on CPU), so
    training from a file must not depend on the offsets in it.
    """
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()
    return network


def load_frozen_vae(weights: WeightsResolver, command_options: str) -> WanVAE:
    """The VAE whose latents the transformer is trained on.

    Raises:
        WeightsError: there is none; says how to get one.
    """
    return load_vae(weights.find_vae(f"wanctl train-vae {command_options}"))


def load_run_text_encoder(
    weights: WeightsResolver, text_len: int, device: torch.device
) -> TextEncoder:
    """The text encoder that the transformer is trained with; the packaged one where it may be.

    Raises:
        WeightsError: there is none; says how to get one.
    """
    components, kind = weights.find_text_encoder(packaged=True)
    half = components is not None and device.type == "cuda"
    dtype = torch.bfloat16 if half else torch.float32
    return load_text_encoder(kind, components, text_len=text_len, device=device, dtype=dtype)


def check_fit(dit: WanModel, vae: WanVAE, text_dim: int) -> None:
    """Compare the channel counts of three networks before any work.

    Raises:
        StartError: names the two numbers that differ.
    """
    pairs = (
        ("latent channels", dit.shape.in_channels, "the VAE makes", vae.shape.z_dim),
        ("text width", dit.shape.text_dim, "the text encoder gives", text_dim),
    )
    for what, takes, source, gives in pairs:
        if takes != gives:
            raise StartError(
                f"train-dit: the transformer takes {what} {takes}, {source} {gives}; "
                "choose weights that belong together, or another model.variant"
            )
