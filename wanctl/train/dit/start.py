"""Networks that `train-dit` starts with: the transformer, the frozen VAE and the text encoder."""

from dataclasses import replace
from pathlib import Path

import torch

from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.fingerprint import dit_fingerprint
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.checkpoint.tiny_decoder import load_tiny_decoder
from wanctl.encoders.text import TextEncoder, load_text_encoder
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder
from wanctl.model.variants import DiTShape
from wanctl.runtime.quantize import FROZEN_KINDS
from wanctl.train.adapters.prepare import Base
from wanctl.train.copied import copied_from_file
from wanctl.train.dit.base_model import fit_inputs, fitted_shape
from wanctl.train.dit.vace.start import with_control_blocks
from wanctl.train.rng import keyed_seed


class StartError(UserError):
    """Two networks that training needs do not fit together."""


def base_of(ref: str | Components | None, seed: int) -> Base:
    """What `start_dit` with the same arguments starts from."""
    components = find_components(ref) if isinstance(ref, str) else ref
    if components is None or components.dit is None:
        return Base(None, f"random, of seed {seed}")
    return Base(ref if isinstance(ref, str) else str(components.root), dit_fingerprint(components))


def start_dit(
    shape: DiTShape,
    ref: str | Components | None,
    precision: str,
    seed: int,
    *,
    strict: bool = False,
    frozen_format: str | None = None,
    network: str = "",
    needs_base: bool = False,
) -> WanModel:
    """The transformer to train, in fp32: mixed precision keeps fp32 weights.

    Args:
        shape: sizes of a transformer with random weights; one with weights gets its inputs.
        ref: weights that the recipe names, or what was found there; None, or without a transformer,
            for random ones.
        precision: see `WanModel`.
        seed: of the random weights.
        strict: see `load_dit`.
        frozen_format: of a transformer that only carries an adapter: `keep` (fp32), `bf16`, or one
            of FROZEN_KINDS; None: its own weights are trained.
        network: name of this network among several; their random weights differ.
        needs_base: whether a context adapter alone is trained, which random weights could not use.

    Raises:
        StartError: an adapter without a transformer that it could be used with.
    """
    if ref is not None:
        components = find_components(ref) if isinstance(ref, str) else ref
        if components.dit is not None:
            log.info("train-dit: starting from %s", components.dit[0].parent)
            base = load_dit(
                components,
                precision=precision,
                dtype=torch.bfloat16 if frozen_format == "bf16" else torch.float32,
                quantize_to=frozen_format if frozen_format in FROZEN_KINDS else None,
                strict=strict,
            )
            file = str(components.dit[0])
            base_shape = base.shape
            base = with_control_blocks(base, shape, file)
            if frozen_format is not None and fitted_shape(base.shape, shape, file) != base_shape:
                raise StartError(
                    f"model.weights: {components.root}: has not the inputs of the variant, which "
                    "no adapter changes; name weights that have them, or train without "
                    "train_dit.adapter"
                )
            return copied_from_file(fit_inputs(base, shape, file, seed))
    named = ref.root if isinstance(ref, Components) else ref
    if frozen_format is not None:
        raise StartError(
            f"model.weights: got {named or 'null'}, which names no transformer; an adapter is "
            "trained on one and used with it: name its folder, or leave train_dit.adapter out"
        )
    if ref is not None:
        log.info("train-dit: %s holds no transformer; starting from random weights", named)
    if needs_base:
        raise StartError(
            f"model.weights: got {named or 'null'}, which names no transformer; control blocks are "
            "trained on a finished one: name its folder, or train all with `train_dit.trained=all`"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "dit", network) if network else keyed_seed(seed, "dit"))
        base = WanModel(replace(shape, vace_layers=()), precision)
    return with_control_blocks(base, shape, "random weights")


def load_frozen_vae(weights: WeightsResolver, command_options: str) -> WanVAE:
    """The VAE whose latents the transformer is trained on.

    Raises:
        WeightsError: there is none; says how to get one.
    """
    return load_vae(weights.find_vae(f"wanctl train-vae {command_options}"))


def check_latent_channels(requested: int | None, vae: WanVAE) -> None:
    """Compare the recipe's `model.latent_channels` with the VAE.

    Raises:
        StartError: they differ.
    """
    if requested not in (None, vae.shape.z_dim):
        raise StartError(
            f"model.latent_channels: got {requested}, the VAE makes {vae.shape.z_dim}; leave it "
            "out, or name another VAE"
        )


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


def load_preview_decoder(folder: Path, vae: WanVAE) -> TinyDecoder:
    """The tiny decoder in a folder.

    Raises:
        WeightsError: there is none.
        StartError: it decodes latents of another form than this VAE's.
    """
    decoder = load_tiny_decoder(folder)
    takes, gives = (
        (each.z_dim, each.temporal_stride, each.spatial_stride)
        for each in (decoder.shape, vae.shape)
    )
    if takes != gives:
        raise StartError(
            "train_dit.preview_decoder: {}: has {} latent channels, {} frames and {} pixels per "
            "latent; the VAE has {}, {} and {}; train it again with train_vae.network: tiny_decoder"
            .format(folder, *takes, *gives)
        )  # fmt: skip
    return decoder


def check_fit(dit: WanModel, vae: WanVAE, text_dim: int) -> None:
    """Compare the channel counts of three networks before any work.

    Raises:
        StartError: names the two numbers that differ.
    """
    pairs = (
        ("latent channels", dit.shape.out_channels, "the VAE makes", vae.shape.z_dim),
        ("text width", dit.shape.text_dim, "the text encoder gives", text_dim),
    )
    for what, takes, source, gives in pairs:
        if takes != gives:
            raise StartError(
                f"train-dit: the transformer takes {what} {takes}, {source} {gives}; "
                "choose weights that belong together, another model.variant, or for random weights "
                "model.latent_channels"
            )
