"""Read and write tiny decoders: wanctl's folders, and files in the layout of TAEHV.

Published files hold an encoder as well. What latents they take does not show in their tensors, so
their names tell: those of LightX2V (`lighttaew2_1`, `lighttaew2_2`) were trained on latents that
are not normalised, TAEHV's own on those that the transformer makes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wanctl.checkpoint.files.config_values import ConfigValues
from wanctl.checkpoint.files.finite import finite_tensors
from wanctl.checkpoint.files.folders import STEM, loose_files, weight_files
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    check_tensors,
    iterate_tensors,
    read_config,
    tensor_shapes,
    write_config,
)
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.load import load_vae, read_vae_shape
from wanctl.checkpoint.save import write_weights
from wanctl.checkpoint.vae_configs import PUBLISHED_STATISTICS
from wanctl.log import log
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape
from wanctl.model.vae.tiny_encoder import TinyEncoder, TinyEncoderShape
from wanctl.model.vae.tiny_vae import TinyVAE, tiny_vae_shape
from wanctl.model.variants import RGB_CHANNELS, VAEShape

FOLDER = "tiny_decoder"  # in a run folder
ENCODER = "encoder."
# Indices of layers in TAEHV's sequence: convolutions at the ends of levels, growth over time.
FIRST, LEVEL_ENDS, LAST = 1, (8, 14, 20), 22
GROWTHS = (7, 13, 19)
POOLS, ENCODER_LAST = (2, 7, 12), 17
KERNEL_DIMENSIONS = 4
WAN_TEMPORAL_STRIDE = 4
RAW_LATENTS = "lighttae"
# Beginnings of names of files for the latents of other models, some in the same layout.
OTHER_FAMILIES = {
    "taehv": "HunyuanVideo", "lighttaehy": "HunyuanVideo", "taecvx": "CogVideoX",
    "taeos": "Open-Sora", "taemochi": "Mochi", "taeltx": "LTX-Video",
}  # fmt: skip


def save_tiny_decoder(
    decoder: TinyDecoder, folder: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write config.json, last, and the weights under TAEHV's names.

    Args:
        decoder: gives sizes and weights.
        folder: created if it does not exist; files of an earlier save are replaced.
        metadata: goes into the header of the weights.
    """
    write_weights(folder, decoder.state_dict(), metadata or {})
    shape = decoder.shape
    config = {
        "_class_name": "TinyDecoder",
        "latent_channels": shape.z_dim,
        "patch_size": shape.patch,
        "decoder_widths": list(shape.widths),
        "decoder_time_upscale": [factor > 1 for factor in shape.time],
        "decoder_space_upscale": [factor > 1 for factor in shape.space],
    }
    write_config(folder / "config.json", config)


def load_tiny_decoder(
    ref: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TinyDecoder:
    """Build a tiny decoder of the stored size and load its weights.

    Args:
        ref: a folder with config.json, or a published file (safetensors or torch's own), whose
            encoder is left out with a line.
        device: where the parameters go.
        dtype: of the parameters.

    Raises:
        WeightsError: no such file, another network, or values that are not finite.
    """
    path = Path(ref)
    files = tiny_decoder_files(path)
    if files is None:  # what is wrong with the only file shows below
        files = weight_files(path) if path.is_dir() else (path,) if path.is_file() else None
    if files is None:
        raise WeightsError(
            f"{path}: holds no tiny decoder; name a folder that `wanctl train-vae` wrote with "
            "train_vae.network: tiny_decoder, or a file of TAEHV, e.g. taew2_1.safetensors"
        )
    stored = _stored_shapes(files)
    if left_out := [name for name in stored if name.startswith(ENCODER)]:
        log.info("%s: its encoder (%d tensors) is left out", files[0], len(left_out))
    return _load_decoder(files, stored, device, dtype)


def load_tiny_vae(
    files: Sequence[Path],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TinyVAE:
    """Build a tiny decoder, and the encoder beside it, in the place of a VAE.

    Args:
        files: from `tiny_decoder_files`.
        device: where the parameters go.
        dtype: of the parameters.

    Raises:
        WeightsError: another network, or values that are not finite.
    """
    where, stored = str(files[0]), _stored_shapes(files)
    _check_family(files[0])
    decoder = _load_decoder(files, stored, device, dtype)
    shapes = {name: shape for name, shape in stored.items() if name.startswith(ENCODER)}
    encoder = None
    if shapes:
        with torch.device("meta"):
            encoder = TinyEncoder(encoder_shape_from_tensors(shapes, where))
        sizes = [(s.z_dim, s.temporal_stride, s.spatial_stride, s.patch)
                 for s in (encoder.shape, decoder.shape)]  # fmt: skip
        if sizes[0] != sizes[1]:
            raise WeightsError(f"{where}: its encoder and its decoder are not of one model")
        _fill(encoder, files, shapes, device, dtype)
    return TinyVAE(decoder, encoder, _vae_shape(decoder.shape, files[0])).eval()


def load_output_vae(
    components: Components, *, device: torch.device | str = "cpu"
) -> WanVAE | TinyVAE:
    """Load what turns latents into outputs, in fp32: a VAE, or a tiny decoder in its place.

    Raises:
        WeightsError: there is neither, or its tensors do not fit.
    """
    if components.vae and _are_tiny(components.vae):
        return load_tiny_vae(components.vae, device=device)
    return load_vae(components, device=device)


def read_output_vae_shape(components: Components) -> VAEShape:
    """Sizes and latent statistics of what `load_output_vae` loads.

    Raises:
        WeightsError: nothing determines the sizes.
    """
    files = components.vae or ()
    if not files or not _are_tiny(files):
        return read_vae_shape(components)
    return _vae_shape(shape_from_tensors(_stored_shapes(files), str(files[0])), files[0])


def tiny_decoder_files(ref: str | Path) -> tuple[Path, ...] | None:
    """The files of the tiny decoder that a file or folder holds, by the names of its tensors.

    None where it holds another network, or nothing.
    """
    path = Path(ref).expanduser()
    try:
        if path.is_dir():
            named = weight_files(path)
            groups = [named] if named else [g for g in loose_files(path) if _are_tiny(g)]
        else:
            groups = [(path,)] if path.is_file() else []
        return groups[0] if len(groups) == 1 and _are_tiny(groups[0]) else None
    except WeightsError:
        return None


def is_tiny_decoder(ref: str | Path) -> bool:
    """Whether a folder or file holds a tiny decoder, by the names of its tensors."""
    return tiny_decoder_files(ref) is not None


def shape_from_tensors(shapes: Mapping[str, tuple[int, ...]], where: str) -> TinyDecoderShape:
    """Sizes from tensor shapes; every level doubles height and width, as in the published files.

    Raises:
        WeightsError: a tensor that shows a size is missing or of another kind.
    """
    try:
        first, last = shapes[f"decoder.{FIRST}.weight"], shapes[f"decoder.{LAST}.weight"]
        ends = [shapes[f"decoder.{index}.weight"] for index in LEVEL_ENDS]
        growths = [shapes[f"decoder.{index}.conv.weight"] for index in GROWTHS]
    except KeyError as error:
        raise WeightsError(
            f"{where}: no tensor {error}; not a decoder in TAEHV's layout (taew2_1, taew2_2; the "
            "larger `super` decoders have other layers)"
        ) from None
    _check_kernels((first, last, *ends, *growths), where)
    time = tuple(growth[0] // growth[1] for growth in growths)
    if first[1] in PUBLISHED_STATISTICS and math.prod(time) > WAN_TEMPORAL_STRIDE:
        time = (1, *time[1:])  # a growth that Wan's latents do not have: its last frame is used
    return TinyDecoderShape(
        z_dim=first[1],
        patch=math.isqrt(last[0] // RGB_CHANNELS),
        widths=(first[0], *(end[0] for end in ends)),
        time=time,
    )


def encoder_shape_from_tensors(
    shapes: Mapping[str, tuple[int, ...]], where: str
) -> TinyEncoderShape:
    """Sizes of the encoder from tensor shapes.

    Raises:
        WeightsError: a tensor that shows a size is missing or of another kind.
    """
    try:
        first, last = shapes["encoder.0.weight"], shapes[f"encoder.{ENCODER_LAST}.weight"]
        pools = [shapes[f"encoder.{index}.conv.weight"] for index in POOLS]
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not an encoder of TAEHV") from None
    _check_kernels((first, last, *pools), where)
    return TinyEncoderShape(
        z_dim=last[0],
        patch=math.isqrt(first[1] // RGB_CHANNELS),
        width=first[0],
        time=tuple(pool[1] // pool[0] for pool in pools),
    )


def _vae_shape(sizes: TinyDecoderShape, file: Path) -> VAEShape:
    raw = RAW_LATENTS in file.name.lower()
    return tiny_vae_shape(sizes, PUBLISHED_STATISTICS.get(sizes.z_dim) if raw else None)


def _check_kernels(kernels: Sequence[tuple[int, ...]], where: str) -> None:
    if any(len(shape) != KERNEL_DIMENSIONS or 0 in shape for shape in kernels):
        raise WeightsError(f"{where}: its tensors are not kernels of images; no tiny decoder")


def _check_family(file: Path) -> None:
    """Refuse decoders of other models, which look alike but for their name.

    Raises:
        WeightsError: names the model.
    """
    stem = file.name.lower()
    model = next((model for mark, model in OTHER_FAMILIES.items() if stem.startswith(mark)), None)
    if model:
        raise WeightsError(
            f"{file}: by its name the tiny decoder of {model}, whose latents are others; take "
            "taew2_1 (VAE of Wan 2.1) or taew2_2 (Wan 2.2 5B), or rename it if the name is wrong"
        )


def _are_tiny(files: Sequence[Path]) -> bool:
    shapes = _stored_shapes(files)
    names = [f"decoder.{index}.weight" for index in (FIRST, LAST)]
    return all(len(shapes.get(name, ())) == KERNEL_DIMENSIONS for name in names)


def _stored_shapes(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    return {name: shape for file in files for name, shape in tensor_shapes(file).items()}


def _load_decoder(
    files: Sequence[Path],
    stored: Mapping[str, tuple[int, ...]],
    device: torch.device | str,
    dtype: torch.dtype,
) -> TinyDecoder:
    shapes = {name: shape for name, shape in stored.items() if not name.startswith(ENCODER)}
    shape = shape_from_tensors(shapes, str(files[0]))
    config = files[0].parent / "config.json"
    if files[0].name.startswith(STEM) and config.is_file():
        shape = replace(shape, space=_space(read_config(config), str(config)))
    with torch.device("meta"):
        decoder = TinyDecoder(shape)
    _fill(decoder, files, shapes, device, dtype)
    return decoder.eval()


def _fill(
    network: nn.Module,
    files: Sequence[Path],
    shapes: Mapping[str, tuple[int, ...]],
    device: torch.device | str,
    dtype: torch.dtype,
) -> None:
    """Give a network on the meta device its tensors; of growths the rows for the last frames."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    surplus = {
        name for name in (f"decoder.{index}.conv.weight" for index in GROWTHS)
        if name in expected and shapes.get(name, (0,))[0] > expected[name][0]
    }  # fmt: skip
    used = {name: expected[name] if name in surplus else shape for name, shape in shapes.items()}
    check_tensors(used, expected, str(files[0]))
    # Copied, because a view would keep the pages of the mapped file.
    state = {
        name: tensor[-expected[name][0] :].to(device, dtype, copy=True)
        for file in files
        for name, tensor in finite_tensors(iterate_tensors(file), file)
        if name in expected
    }
    network.load_state_dict(state, assign=True)


def _space(config: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """Rows per row of each level; all other sizes show in the tensors.

    Raises:
        WeightsError: not one flag for each level.
    """
    key, levels = "decoder_space_upscale", len(LEVEL_ENDS)
    if key not in config:  # another program's config
        return TinyDecoderShape().space
    flags = ConfigValues(config, where).flags(key)
    if len(flags) != levels:
        raise WeightsError(f"{where}: {key} has {len(flags)} values; need {levels}, true or false")
    return tuple(1 + flag for flag in flags)
