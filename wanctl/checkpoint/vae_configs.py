"""Convert between the sizes of a VAE and its config.json, or the shapes of its tensors."""

import math
import re
from collections.abc import Mapping
from typing import Any

from wanctl.checkpoint.files.config_values import ConfigValues, compare_sizes
from wanctl.checkpoint.files.errors import WeightsError
from wanctl.model.variants import (
    RGB_CHANNELS,
    WAN21_LATENT_MEAN,
    WAN21_LATENT_STD,
    WAN22_LATENT_MEAN,
    WAN22_LATENT_STD,
    VAEShape,
)

Shapes = Mapping[str, tuple[int, ...]]
PUBLISHED_STATISTICS = {
    16: (WAN21_LATENT_MEAN, WAN21_LATENT_STD),
    48: (WAN22_LATENT_MEAN, WAN22_LATENT_STD),
}


def vae_shape_from_config(config: Mapping[str, Any], where: str) -> VAEShape:
    """Sizes of a VAE from a config in the diffusers spelling, which wanctl writes as well.

    Raises:
        WeightsError: a key is missing.
    """
    values = ConfigValues(config, where)
    try:
        shape = VAEShape(
            dim=values.whole("base_dim"),
            z_dim=values.whole("z_dim"),
            dim_mult=values.wholes("dim_mult"),
            num_res_blocks=values.whole("num_res_blocks", least=0),
            temporal_downsample=values.flags("temperal_downsample"),
            latent_mean=values.reals("latents_mean"),
            latent_std=values.reals("latents_std"),
            decoder_dim=values.optional("decoder_base_dim"),
            residual=bool(config.get("is_residual")),
            patch=values.optional("patch_size") or 1,
        )
    except KeyError as error:
        raise WeightsError(f"{where}: no key {error} that says how large the VAE is") from None
    counts = {len(shape.latent_mean), len(shape.latent_std), shape.z_dim}
    if len(counts) > 1 or min(shape.latent_std) <= 0:
        raise WeightsError(
            f"{where}: latents_mean and latents_std have to hold {shape.z_dim} numbers each, the "
            "second above 0"
        )
    if len(shape.temporal_downsample) != len(shape.dim_mult) - 1:
        raise WeightsError(
            f"{where}: {len(shape.dim_mult)} levels need {len(shape.dim_mult) - 1} values of "
            f"temperal_downsample; got {len(shape.temporal_downsample)}"
        )
    return shape


def check_vae_sizes(shape: VAEShape, tensors: Shapes, where: str) -> None:
    """Compare a config's sizes with the tensors, before anything is built by it.

    Raises:
        WeightsError: names the first size that differs.
    """
    try:
        stored = vae_shape_from_tensors(tensors, where)
    except WeightsError:  # a tensor is missing, which loading names
        return
    keys = {
        "base_dim": "dim", "z_dim": "z_dim", "dim_mult": "dim_mult",
        "num_res_blocks": "num_res_blocks", "temperal_downsample": "temporal_downsample",
    }  # fmt: skip
    stated = {key: getattr(shape, name) for key, name in keys.items()}
    compare_sizes(stated, {key: getattr(stored, name) for key, name in keys.items()}, where)


def vae_config(shape: VAEShape, layout: str) -> dict[str, Any]:
    """The config.json that describes a VAE."""
    config = {
        "_class_name": "AutoencoderKLWan" if layout == "diffusers" else "WanVAE",
        "base_dim": shape.dim,
        "z_dim": shape.z_dim,
        "dim_mult": list(shape.dim_mult),
        "num_res_blocks": shape.num_res_blocks,
        # Misspelt in the published configs, so that other programs read only this.
        "temperal_downsample": list(shape.temporal_downsample),
        "latents_mean": list(shape.latent_mean),
        "latents_std": list(shape.latent_std),
    }
    if shape.residual or layout == "diffusers":
        channels = RGB_CHANNELS * shape.patch**2
        config |= {
            "decoder_base_dim": shape.decoder_dim,
            "is_residual": shape.residual,
            "patch_size": shape.patch if shape.patch > 1 else None,
            "in_channels": channels,
            "out_channels": channels,
            "scale_factor_spatial": shape.spatial_stride,
            "scale_factor_temporal": shape.temporal_stride,
        }
    if layout == "diffusers":
        config |= {"attn_scales": [], "dropout": 0.0}
    return config


def vae_shape_from_tensors(shapes: Shapes, where: str) -> VAEShape:
    """Sizes of a VAE from tensor shapes by official name.

    The encoder's layers are, level by level, residual blocks and then a resampler.

    Latent statistics are the published ones at 16 (2.1) and 48 (2.2) channels, else mean 0 and
    std 1.

    Raises:
        WeightsError: a tensor that shows a size is missing.
    """
    try:
        dim, in_channels = shapes["encoder.conv1.weight"][:2]
        z_dim, top = shapes["conv2.weight"][0], shapes["decoder.conv1.weight"][0]
        if min(dim, in_channels, z_dim, top) < 1:
            raise WeightsError(f"{where}: a size of its tensors is 0; not a Wan VAE")
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not a Wan VAE") from None
    except (ValueError, IndexError):
        raise WeightsError(f"{where}: its tensors have too few dimensions for a Wan VAE") from None
    layers = _layers(shapes, "encoder.downsamples")
    residual = any(name.startswith("encoder.downsamples.0.downsamples.") for name in shapes)
    levels: list[list[int]] = [[]]
    temporal: list[bool] = []
    for layer in layers:
        if f"{layer}.residual.2.weight" in shapes:
            levels[-1].append(shapes[f"{layer}.residual.2.weight"][0])
        else:
            temporal.append(f"{layer}.time_conv.weight" in shapes)
            levels.append([])
    if not all(levels):
        raise WeightsError(f"{where}: its encoder's layers are not those of a Wan VAE")
    dim_mult = tuple(widths[0] // dim for widths in levels)
    mean, std = PUBLISHED_STATISTICS.get(z_dim, ((0.0,) * z_dim, (1.0,) * z_dim))
    return VAEShape(
        dim=dim,
        z_dim=z_dim,
        dim_mult=dim_mult,
        num_res_blocks=_res_blocks(shapes),
        temporal_downsample=tuple(temporal),
        latent_mean=mean,
        latent_std=std,
        decoder_dim=top // dim_mult[-1] if residual else None,
        residual=residual,
        patch=math.isqrt(in_channels // RGB_CHANNELS),
    )


def _res_blocks(shapes: Shapes) -> int:
    """`num_res_blocks`: one less than the residuals of the decoder's first level.

    The encoder has at least one residual in a level, so 0 and 1 look alike there.
    """
    count = 0
    for layer in _layers(shapes, "decoder.upsamples"):
        if f"{layer}.residual.2.weight" not in shapes:
            break
        count += 1
    return max(count - 1, 0)


def _layers(shapes: Shapes, part: str) -> list[str]:
    """Names of the residuals and resamplers of a part, in order; a level may be a module.

    Args:
        shapes: by official name.
        part: `encoder.downsamples` or `decoder.upsamples`.
    """
    inner = part.partition(".")[2]
    pattern = re.compile(rf"({re.escape(part)}\.(\d+)(?:\.{inner}\.(\d+))?)\.[a-z]")
    found = {(int(m[2]), int(m[3] or 0)): m[1] for name in shapes if (m := pattern.match(name))}
    return [found[place] for place in sorted(found)]
