"""Which parts of the VAE are trained; the others keep their bits."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import torch

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import read_vae_shape
from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant

ALL = "all"
# The 1x1x1 convolutions on both sides of the latents belong to the half that they are next to.
HALVES = {"encoder": ("encoder", "conv1"), "decoder": ("conv2", "decoder")}


class TrainedParts(NamedTuple):
    """How many weights are trained, of how many, and whether the latents change."""

    trained: int
    total: int
    moves_latents: bool


def part_problem(vae: WanVAE, name: str) -> str | None:
    """Why a name is no part of the VAE, with the nearest ones; None where it is one."""
    blocks = {
        ".".join(parts[:end])
        for parts in (parameter.split(".") for parameter, _ in vae.named_parameters())
        for end in range(1, len(parts) + 1)
    }
    if name == ALL or name in blocks:
        return None
    near = get_close_matches(name, sorted(blocks | {ALL}), n=3, cutoff=0.4)
    hint = f"; near are {', '.join(near)}" if near else ""
    return (
        f"the VAE has no part {name!r}{hint}; allowed are all, encoder, decoder and beginnings of "
        "its tensors' names, e.g. decoder.head"
    )


def part_problems(variant: Variant, ref: str | None, names: Sequence[str]) -> dict[int, str]:
    """Index of each name that is no part of the VAE to be trained -> why; reads no weights.

    Args:
        variant: has the VAE's layout where `ref` shows none.
        ref: weights that training starts from; nothing is downloaded.
        names: `train_vae.trained`.
    """
    shape = variant.vae
    if ref is not None and Path(ref).expanduser().exists():
        try:
            components = find_components(ref)
            shape = read_vae_shape(components) if components.vae else shape
        except UserError:
            return {}  # the run names what is wrong with the weights
    with torch.device("meta"):
        vae = WanVAE(shape)
    problems = {index: part_problem(vae, name) for index, name in enumerate(names)}
    return {index: message for index, message in problems.items() if message}


def freeze_others(vae: WanVAE, names: Sequence[str]) -> TrainedParts:
    """Let only these parts get gradients.

    A frozen parameter has no gradient, no optimizer state and no average.

    Args:
        vae: changed in place.
        names: `all`, `encoder`, `decoder`, or beginnings of tensors' names up to a point, e.g.
            `decoder.upsamples.3`; `part_problem` accepts each.
    """
    beginnings = tuple(f"{part}." for name in names for part in HALVES.get(name, (name,)))
    trained = total = 0
    moves_latents = False
    for name, parameter in vae.named_parameters():
        learns = ALL in names or f"{name}.".startswith(beginnings)
        parameter.requires_grad_(learns)
        total += parameter.numel()
        if learns:
            trained += parameter.numel()
            moves_latents |= name.startswith(tuple(f"{part}." for part in HALVES["encoder"]))
    return TrainedParts(trained, total, moves_latents)
