"""Convert between the sizes of a network and its config.json, official or diffusers spelling.

Sizes of files without a config are derived from the shapes of their tensors.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.model.shapes import PATCH
from wanctl.model.variants import (
    RGB_CHANNELS,
    WAN21_LATENT_MEAN,
    WAN21_LATENT_STD,
    WAN22_LATENT_MEAN,
    WAN22_LATENT_STD,
    DiTShape,
    VAEShape,
)

Shapes = Mapping[str, tuple[int, ...]]

# Head width of every published model; it does not show in the shapes of tensors.
PUBLISHED_HEAD_DIM = 128
# Header key under which a single file states its sizes, in the official spelling.
CONFIG_KEY = "wanctl.config"
KINDS = ("t2v", "i2v", "flf2v", "ti2v", "vace")
TI2V_CHANNELS = 48
PUBLISHED_STATISTICS = {
    16: (WAN21_LATENT_MEAN, WAN21_LATENT_STD),
    48: (WAN22_LATENT_MEAN, WAN22_LATENT_STD),
}


def dit_shape_from_config(config: Mapping[str, Any], where: str) -> DiTShape:
    """Sizes of a transformer from a config of either spelling.

    Raises:
        WeightsError: a key is missing, or this kind of network is not supported.
    """
    kind = config.get("model_type", "t2v")
    patch = tuple(config.get("patch_size", PATCH))
    if kind not in KINDS or patch != PATCH:
        raise WeightsError(
            f"{where}: a {kind} model with patch {patch}; supported are {', '.join(KINDS)} with "
            f"patch {PATCH}"
        )
    try:
        if "num_attention_heads" in config:
            return _from_diffusers(config)
        # the official spelling does not state a CLIP branch: 2.1's i2v has one, 2.2's has none;
        # it shows in the tensors (`with_image_branch`)
        return DiTShape(
            dim=config["dim"],
            ffn_dim=config["ffn_dim"],
            num_layers=config["num_layers"],
            num_heads=config["num_heads"],
            in_channels=config["in_dim"],
            out_channels=config["out_dim"],
            text_dim=config.get("text_dim", DiTShape.text_dim),
            text_len=config.get("text_len", DiTShape.text_len),
            freq_dim=config.get("freq_dim", DiTShape.freq_dim),
            eps=config.get("eps", DiTShape.eps),
            vace_layers=tuple(config.get("vace_layers") or ()),
            vace_channels=config.get("vace_in_dim", DiTShape.vace_channels),
        )
    except KeyError as error:
        raise WeightsError(f"{where}: no key {error} that says how large the model is") from None


def _from_diffusers(config: Mapping[str, Any]) -> DiTShape:
    heads = config["num_attention_heads"]
    return DiTShape(
        dim=heads * config["attention_head_dim"],
        ffn_dim=config["ffn_dim"],
        num_layers=config["num_layers"],
        num_heads=heads,
        in_channels=config["in_channels"],
        out_channels=config.get("out_channels") or config["in_channels"],
        text_dim=config["text_dim"],
        freq_dim=config["freq_dim"],
        eps=config["eps"],
        image_dim=config.get("image_dim"),
        image_tokens=config.get("pos_embed_seq_len"),
        vace_layers=tuple(config.get("vace_layers") or ()),
        vace_channels=config.get("vace_in_channels", DiTShape.vace_channels),
    )


def with_image_branch(shape: DiTShape, tensors: Shapes) -> DiTShape:
    """Add to the sizes what only tensors show: CLIP's width and positions of two images."""
    norm, positions = tensors.get("img_emb.proj.0.weight"), tensors.get("img_emb.emb_pos")
    if not norm or "blocks.0.cross_attn.k_img.weight" not in tensors:  # half of it is of no use
        return replace(shape, image_dim=None, image_tokens=None)
    return replace(shape, image_dim=norm[0], image_tokens=positions[1] if positions else None)


def dit_config(shape: DiTShape, layout: str) -> dict[str, Any]:
    """The config.json that describes a transformer."""
    if layout == "diffusers":
        kind = "WanVACETransformer3DModel" if shape.vace_layers else "WanTransformer3DModel"
        config: dict[str, Any] = {
            "_class_name": kind,
            "num_attention_heads": shape.num_heads,
            "attention_head_dim": shape.head_dim,
            "in_channels": shape.in_channels,
            "out_channels": shape.out_channels,
            "ffn_dim": shape.ffn_dim,
            "num_layers": shape.num_layers,
            "text_dim": shape.text_dim,
            "freq_dim": shape.freq_dim,
            "eps": shape.eps,
            "patch_size": list(PATCH),
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "rope_max_seq_len": 1024,
            "image_dim": shape.image_dim,
            "added_kv_proj_dim": shape.dim if shape.image_dim else None,
            "pos_embed_seq_len": shape.image_tokens,
        }
        if shape.vace_layers:
            config["vace_layers"] = list(shape.vace_layers)
            config["vace_in_channels"] = shape.vace_channels
        return config
    config = {
        "_class_name": "VaceWanModel" if shape.vace_layers else "WanModel",
        "model_type": _kind(shape),
        "dim": shape.dim,
        "ffn_dim": shape.ffn_dim,
        "num_heads": shape.num_heads,
        "num_layers": shape.num_layers,
        "in_dim": shape.in_channels,
        "out_dim": shape.out_channels,
        "text_len": shape.text_len,
        "text_dim": shape.text_dim,
        "freq_dim": shape.freq_dim,
        "eps": shape.eps,
    }
    if shape.vace_layers:
        config["vace_layers"] = list(shape.vace_layers)
        config["vace_in_dim"] = shape.vace_channels
    return config


def _kind(shape: DiTShape) -> str:
    """`model_type` of the official spelling."""
    if shape.vace_layers:
        return "vace"
    if shape.in_channels == shape.out_channels:
        return "ti2v" if shape.out_channels == TI2V_CHANNELS else "t2v"
    return "flf2v" if shape.image_tokens else "i2v"


def dit_shape_from_tensors(shapes: Shapes, where: str) -> DiTShape:
    """Sizes of a transformer from tensor shapes by official name, assuming heads of width 128.

    Raises:
        WeightsError: a tensor that shows a size is missing, or the width is no multiple of 128.
    """
    try:
        dim, in_channels = shapes["patch_embedding.weight"][:2]
        ffn_dim = shapes["blocks.0.ffn.0.weight"][0]
        out_channels = shapes["head.head.weight"][0] // (PATCH[0] * PATCH[1] * PATCH[2])
        text_dim = shapes["text_embedding.0.weight"][1]
        freq_dim = shapes["time_embedding.0.weight"][1]
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not a Wan transformer") from None
    if dim % PUBLISHED_HEAD_DIM:
        raise WeightsError(
            f"{where}: width {dim} is no multiple of {PUBLISHED_HEAD_DIM}, so the number of heads "
            "is unknown; put the model's config.json in the folder of the file"
        )
    blocks = numbered(shapes, "blocks.")
    control = numbered(shapes, "vace_blocks.")
    # hints go to evenly spaced blocks from the first on, in every published model
    every = -(-blocks // control) if control else 1
    shape = DiTShape(
        dim=dim,
        ffn_dim=ffn_dim,
        num_layers=blocks,
        num_heads=dim // PUBLISHED_HEAD_DIM,
        in_channels=in_channels,
        out_channels=out_channels,
        text_dim=text_dim,
        freq_dim=freq_dim,
        vace_layers=tuple(range(0, blocks, every)) if control else (),
        vace_channels=shapes.get("vace_patch_embedding.weight", (0, DiTShape.vace_channels))[1],
    )
    return with_image_branch(shape, shapes)


def numbered(shapes: Shapes, row: str) -> int:
    """Number of blocks whose names start with a prefix, e.g. `blocks.`."""
    return len({n.removeprefix(row).split(".")[0] for n in shapes if n.startswith(row)})


def vae_shape_from_config(config: Mapping[str, Any], where: str) -> VAEShape:
    """Sizes of a VAE from a config in the diffusers spelling, which wanctl writes as well.

    Raises:
        WeightsError: a key is missing.
    """
    try:
        return VAEShape(
            dim=config["base_dim"],
            z_dim=config["z_dim"],
            dim_mult=tuple(config["dim_mult"]),
            num_res_blocks=config["num_res_blocks"],
            temporal_downsample=tuple(config["temperal_downsample"]),
            latent_mean=tuple(config["latents_mean"]),
            latent_std=tuple(config["latents_std"]),
            decoder_dim=config.get("decoder_base_dim"),
            residual=bool(config.get("is_residual")),
            patch=config.get("patch_size") or 1,
        )
    except KeyError as error:
        raise WeightsError(f"{where}: no key {error} that says how large the VAE is") from None


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
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not a Wan VAE") from None
    layers = _encoder_layers(shapes)
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
        num_res_blocks=len(levels[0]),
        temporal_downsample=tuple(temporal),
        latent_mean=mean,
        latent_std=std,
        decoder_dim=top // dim_mult[-1] if residual else None,
        residual=residual,
        patch=math.isqrt(in_channels // RGB_CHANNELS),
    )


def _encoder_layers(shapes: Shapes) -> list[str]:
    """Names of the encoder's residuals and resamplers, in order; a level may be a module."""
    pattern = re.compile(r"(encoder\.downsamples\.(\d+)(?:\.downsamples\.(\d+))?)\.[a-z]")
    found = {(int(m[2]), int(m[3] or 0)): m[1] for name in shapes if (m := pattern.match(name))}
    return [found[place] for place in sorted(found)]
