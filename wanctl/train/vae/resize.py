"""Fill a VAE with the weights of a narrower or wider one of the same layout.

A wider VAE computes the same function at first. Its new channels are zero: the weights that make
them are zero, the weights that read them are random, so that both get gradients within two steps.
A norm counts its channels, so its gamma shrinks by the root of the ratio; attention divides by the
root of its width, so the queries grow by it. Of keys and queries, whose gradients are each other,
the queries start random. Wan 2.2's shortcuts average neighbouring channels, old with old.

New latent channels are read with zero weights instead: their means are random functions of the
video, which reconstruction takes up as the weights grow.

A narrower VAE takes the leading channels of each tensor, which is no more than a start.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.ops.conv import CausalConv3d
from wanctl.train.vae.inflation import START_LOG_VARIANCE

# Of these outputs the first group starts random: queries, and means of new latent channels.
FIRST_GROUP_RANDOM = ("to_qkv.weight", "encoder.head.2.weight")


@torch.no_grad()
def fill_resized(vae: WanVAE, tensors: Mapping[str, Tensor]) -> None:
    """Fill a VAE from the tensors of a VAE with another width or other latent channels.

    Args:
        vae: with random weights; filled in place.
        tensors: by official name; their shapes differ from the VAE's in channels only.
    """
    state = vae.state_dict()
    for name, stored in tensors.items():
        if name.endswith(".gamma"):
            _fill_gamma(state[name], stored)
        else:
            layer = vae.get_submodule(name.rpartition(".")[0])
            _fill(name, layer, state[name], stored)
    old_channels = tensors["conv2.weight"].shape[0]
    if old_channels < vae.shape.z_dim:
        _connect_latents(vae, old_channels)


def _fill(name: str, layer: nn.Module, fresh: Tensor, stored: Tensor) -> None:
    """Copy what both have; rows that the stored tensor lacks become zero, columns stay random."""
    groups = _groups(name, layer)
    new, old = _by_group(fresh, *groups), _by_group(stored, *groups)
    rows, columns = min(new.shape[1], old.shape[1]), min(new.shape[3], old.shape[3])
    first = 1 if name.endswith(FIRST_GROUP_RANDOM) else 0
    new[first:, rows:] = 0
    new[:, :rows, :, :columns] = old[:, :rows, :, :columns]
    if "to_qkv" in name and new.shape[1] > rows:
        new[0, :rows] *= math.sqrt(new.shape[1] / rows)


def _fill_gamma(fresh: Tensor, stored: Tensor) -> None:
    channels = min(len(fresh), len(stored))
    scale = math.sqrt(channels / len(fresh))
    fresh.fill_(stored.float().mean() * scale)
    fresh[:channels] = stored[:channels] * scale


def _groups(name: str, layer: nn.Module) -> tuple[int, int]:
    """How many groups of channels lie side by side in a layer's outputs and in its inputs."""
    if ".to_qkv." in name:
        return 3, 1
    if ".time_conv." in name:  # an upsampler's makes two frames
        assert isinstance(layer, CausalConv3d)
        return layer.out_channels // layer.in_channels, 1
    if name.startswith("conv1."):  # mean and log-variance
        return 2, 2
    return (2, 1) if name.startswith("encoder.head.2.") else (1, 1)


def _by_group(tensor: Tensor, out_groups: int, in_groups: int) -> Tensor:
    """View as (out groups, O, in groups, I, ...); a bias as (out groups, O, 1, 1)."""
    if tensor.ndim == 1:
        return tensor.view(out_groups, -1, 1, 1)
    out, inputs, *kernel = tensor.shape
    return tensor.view(out_groups, out // out_groups, in_groups, inputs // in_groups, *kernel)


def _connect_latents(vae: WanVAE, old: int) -> None:
    """Lead latent channels from number `old` on through, unread by what was there before."""
    vae.decoder.conv1.weight[:, old:] = 0
    vae.conv2.weight[:old, old:] = 0
    moments = _by_group(vae.conv1.weight, 2, 2)
    moments[:, :old, :, old:] = 0
    for channel in range(old, vae.shape.z_dim):
        vae.conv2.weight[channel, channel] = 1
        moments[0, channel, 0, channel] = moments[1, channel, 1, channel] = 1
    vae.log_variance_bias[old:] = START_LOG_VARIANCE
