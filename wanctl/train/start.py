"""Which networks a run starts from: trained ones, given weights, or fresh ones."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.encoders.text import TextEncoder, load_text_encoder
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant
from wanctl.train.result import saved_step
from wanctl.train.rng import keyed_seed

Network = TypeVar("Network", bound=nn.Module)

START_LOG_VARIANCE = -6.0


class StartError(UserError):
    """A network that training needs is not there, or two of them do not fit together."""


def start_vae(variant: Variant, ref: str | None, seed: int) -> tuple[WanVAE, bool]:
    """The VAE to train, and whether it came with weights (and so with latent statistics)."""
    if ref is not None:
        components = find_components(ref)
        if components.vae is not None:
            log.info("train-vae: starting from %s", components.vae[0])
            return _in_own_memory(load_vae(components)), True
        log.info("train-vae: %s holds no VAE; starting from nothing", ref)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "vae"))
        vae = WanVAE(variant.vae)
    with torch.no_grad():
        # A fresh encoder would hide its small means under unit noise: after 40 steps on images it
        # reaches 12.4 dB; with this start 16.7 dB.
        vae.log_variance_bias.fill_(START_LOG_VARIANCE)
    return vae, False


def start_dit(variant: Variant, ref: str | None, precision: str, seed: int) -> WanModel:
    """The transformer to train, in fp32: mixed precision keeps fp32 weights."""
    if ref is not None:
        components = find_components(ref)
        if components.dit is not None:
            log.info("train-dit: starting from %s", components.dit[0].parent)
            return _in_own_memory(load_dit(components, precision=precision))
        log.info("train-dit: %s holds no transformer; starting from nothing", ref)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "dit"))
        return WanModel(variant.dit, precision)


def _in_own_memory(network: Network) -> Network:
    """Copy parameters out of the memory-mapped file.

    Where they lie decides the last bit of a matrix product (measured 1.5e-7 relative on CPU), so
    training from a file must not depend on how the file lays them out.
    """
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()
    return network


def find_vae(out: Path, refs: tuple[str | None, ...], next_to: str) -> WanVAE:
    """The VAE whose latents are learnt: the one trained in `out`, else the first given one.

    Raises:
        StartError: there is none; says how to get one.
    """
    if saved_step(out / "vae") is not None:
        return load_vae(out / "vae")
    for ref in refs:
        if ref is not None and (components := find_components(ref)).vae is not None:
            return load_vae(components)
    raise StartError(
        f"train-dit: needs a VAE, and {out / 'vae'} holds no finished one; run "
        f"`wanctl train-vae {next_to}`, or name one with `--set model.vae_weights=DIR`"
    )


def find_text_encoder(
    variant: Variant, refs: tuple[str | None, ...], text_len: int, device: torch.device
) -> TextEncoder:
    """The variant's text encoder; umT5 from the first given place, else from its hub id."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if variant.text_encoder == "minilm":
        return load_text_encoder("minilm", None, text_len=text_len, device=device)
    source = next((ref for ref in (*refs, variant.hub) if ref is not None), None)
    if source is None:
        raise StartError(
            f"train-dit: variant {variant.name} needs a text encoder; name its folder with "
            "`--set model.text_weights=DIR`"
        )
    return load_text_encoder(
        variant.text_encoder, source, text_len=text_len, device=device, dtype=dtype
    )


def check_fit(dit: WanModel, vae: WanVAE, text_dim: int) -> None:
    """Hold channel counts against each other before any work.

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
