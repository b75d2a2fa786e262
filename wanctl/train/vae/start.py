"""The VAE that training starts with: weights that the recipe names, or random ones.

Weights may be those of an image VAE, which are inflated, or of a VAE of the same layout with
another width or other latent channels, which are resized.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wanctl.checkpoint.files.finite import finite_tensors
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.tensor_files import check_tensors
from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.load import load_vae, read_vae_shape
from wanctl.checkpoint.networks import VAE, StoredNetwork, open_network
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape, Variant, resized_vae
from wanctl.train.copied import copied_from_file
from wanctl.train.rng import keyed_seed
from wanctl.train.vae.inflation import inflate, start_as_image_vae
from wanctl.train.vae.resize import fill_resized

# Sizes that cannot be changed: patches and shortcuts tell Wan 2.1 from 2.2.
LAYOUT = ("residual", "patch", "dim_mult", "num_res_blocks", "temporal_downsample")


class VAEStartError(UserError):
    """Weights that the VAE cannot start from."""


@dataclass(frozen=True)
class VAESource:
    """Weights that the recipe names, and the sizes that it asks for.

    Attributes:
        ref: weights; None for random ones.
        must_hold_vae: whether weights without a VAE are an error; else the VAE starts random.
        width: `model.vae_width`; None: that of the weights.
        latent_channels: `model.latent_channels`; None: those of the weights.
    """

    ref: str | None = None
    must_hold_vae: bool = False
    width: int | None = None
    latent_channels: int | None = None


def start_vae(variant: Variant, source: VAESource, seed: int) -> tuple[WanVAE, bool]:
    """The VAE to train, and whether its latent statistics are those of its weights.

    Args:
        variant: sizes of a VAE with random weights, and the layout of all others.
        source: weights and sizes that the recipe names.
        seed: of random weights.

    Raises:
        UserError: no such weights, no VAE in them, or one of another layout.
    """
    if source.ref is not None:
        if source.must_hold_vae:
            _check_stage_folder(source.ref)
        components = find_components(source.ref)
        if components.vae is not None:
            return _from_weights(variant, source, components, seed)
        if source.must_hold_vae:
            raise VAEStartError(
                f"model.vae_weights: {components.root} holds no VAE; name a folder or file with "
                "one, e.g. OUT/vae of another `wanctl train-vae`"
            )
        log.info("train-vae: %s holds no VAE; starting from random weights", source.ref)
    vae = _random_vae(variant.vae, seed)
    start_as_image_vae(vae)
    return vae, False


def _check_stage_folder(ref: str) -> None:
    """Name the command that makes `runs/RECIPE/vae`, where that is missing or unfinished.

    Raises:
        VAEStartError: `ref` is called so and holds no weights.
    """
    folder = Path(ref).expanduser()
    if folder.name == "vae" and not folder.is_file() and not weight_files(folder):
        state = "holds no finished VAE" if folder.is_dir() else "does not exist"
        raise VAEStartError(
            f"model.vae_weights: {folder} {state}; `wanctl train-vae --recipe "
            f"{folder.resolve().parent.name}` makes one where its --out is {folder.parent}"
        )


def _from_weights(
    variant: Variant, source: VAESource, components: Components, seed: int
) -> tuple[WanVAE, bool]:
    assert components.vae is not None
    where = str(components.vae[0])
    shape = read_vae_shape(components)
    network = open_network(VAE, components.vae)
    is_image_vae = len(network.shapes["encoder.conv1.weight"]) == 4
    if is_image_vae:
        shape = replace(shape, temporal_downsample=variant.vae.temporal_downsample)
    target = resized_vae(shape, source.width, source.latent_channels)
    if is_image_vae or target != shape:
        _check_layout(shape, variant, where)
    log.info("train-vae: starting from %s", where)
    if is_image_vae:
        log.info("train-vae: it is an image VAE; its kernels become the last temporal taps")
        vae = _inflated(network, shape, seed)
    else:
        vae = copied_from_file(load_vae(components))
    if target == shape:
        return vae, not is_image_vae
    resized = _random_vae(target, seed)
    fill_resized(resized, vae.state_dict())
    narrower = _log_sizes(shape, target)
    return resized, not (is_image_vae or narrower or target.z_dim != shape.z_dim)


def _random_vae(shape: VAEShape, seed: int) -> WanVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(seed, "vae"))
        return WanVAE(shape)


def _inflated(network: StoredNetwork, shape: VAEShape, seed: int) -> WanVAE:
    """A 3-D VAE with the kernels of an image VAE; layers over time that it lacks are the identity.

    Raises:
        WeightsError: tensors are missing, of another size, or not finite.
    """
    vae, where = _random_vae(shape, seed), network.files[0]
    start_as_image_vae(vae)
    state = vae.state_dict()
    read = ((name, lazy.read()) for name, lazy in network.tensors.items())
    tensors = {name: tensor for name, tensor in state.items() if ".time_conv." in name}
    for name, tensor in finite_tensors(read, where):
        tensors[name] = inflate(tensor, tuple(state[name].shape)) if name in state else tensor
    shapes, expected = (
        {name: tuple(tensor.shape) for name, tensor in each.items()} for each in (tensors, state)
    )
    check_tensors(shapes, expected, str(where))
    vae.load_state_dict(tensors)
    return vae


def _check_layout(shape: VAEShape, variant: Variant, where: str) -> None:
    """Refuse to change the sizes of weights whose layout is not the variant's.

    Raises:
        VAEStartError: names the sizes that differ.
    """
    differing = [name for name in LAYOUT if getattr(shape, name) != getattr(variant.vae, name)]
    if differing:
        stored, takes = (
            ", ".join(f"{name} {_plain(getattr(each, name))}" for name in differing)
            for each in (shape, variant.vae)
        )
        raise VAEStartError(
            f"{where}: holds a VAE with {stored}; that of model.variant {variant.name} has {takes},"
            " and only widths and latent channels can be changed"
        )


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _log_sizes(shape: VAEShape, target: VAEShape) -> bool:
    """Log how the weights are resized; returns whether anything of them is left out."""
    changes = [
        f"{what} {getattr(shape, name)} to {getattr(target, name)}"
        for what, name in (("width", "dim"), ("latent channels", "z_dim"))
        if getattr(shape, name) != getattr(target, name)
    ]
    narrower = target.dim < shape.dim or target.z_dim < shape.z_dim
    effect = (
        "the leading channels are kept, which is only a start and another function"
        if narrower
        else "new channels change nothing at first"
    )
    log.info("train-vae: from %s: %s", " and ".join(changes), effect)
    return narrower
