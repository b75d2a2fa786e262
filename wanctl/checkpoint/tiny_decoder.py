"""Read and write tiny decoders: wanctl's folders, and files in the layout of TAEHV."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from wanctl.checkpoint.files.config_values import ConfigValues
from wanctl.checkpoint.files.finite import finite_tensors
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    check_tensors,
    iterate_tensors,
    read_config,
    tensor_shapes,
    write_config,
)
from wanctl.checkpoint.save import write_weights
from wanctl.log import log
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape
from wanctl.model.variants import RGB_CHANNELS

FOLDER = "tiny_decoder"  # in a run folder
ENCODER = "encoder."
# Indices of layers in TAEHV's sequence: convolutions at the ends of levels, growth over time.
FIRST, LEVEL_ENDS, LAST = 1, (8, 14, 20), 22
GROWTHS = (7, 13, 19)


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
    files = weight_files(path) if path.is_dir() else (path,) if path.is_file() else None
    if files is None:
        raise WeightsError(
            f"{path}: holds no tiny decoder; name a folder that `wanctl train-vae` wrote with "
            "train_vae.network: tiny_decoder, or a file of TAEHV, e.g. taew2_1.safetensors"
        )
    where = str(files[0])
    stored = {name: shape for file in files for name, shape in tensor_shapes(file).items()}
    if left_out := [name for name in stored if name.startswith(ENCODER)]:
        log.info("%s: its encoder (%d tensors) is left out", where, len(left_out))
    shapes = {name: shape for name, shape in stored.items() if not name.startswith(ENCODER)}
    shape = shape_from_tensors(shapes, where)
    if path.is_dir() and (config := path / "config.json").is_file():
        shape = replace(shape, space=_space(read_config(config), str(config)))
    with torch.device("meta"):
        decoder = TinyDecoder(shape)
    expected = {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items()}
    check_tensors(shapes, expected, where)
    # Copied, because a view would keep the pages of the mapped file.
    state = {
        name: tensor.to(device, dtype, copy=True)
        for file in files
        for name, tensor in finite_tensors(iterate_tensors(file), file)
        if name in expected
    }
    decoder.load_state_dict(state, assign=True)
    return decoder.eval()


def is_tiny_decoder(ref: str | Path) -> bool:
    """Whether a folder or file holds a tiny decoder, by the names of its tensors."""
    path = Path(ref).expanduser()
    try:
        files = weight_files(path) if path.is_dir() else (path,) if path.is_file() else ()
        shapes = {
            name: shape for file in files or () for name, shape in tensor_shapes(file).items()
        }
    except WeightsError:
        return False
    names = [f"decoder.{index}.weight" for index in (FIRST, LAST)]
    return all(len(shapes.get(name, ())) == 4 for name in names)


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
    if any(len(shape) != 4 or 0 in shape for shape in (first, last, *ends, *growths)):
        raise WeightsError(f"{where}: its tensors are not kernels of images; no tiny decoder")
    return TinyDecoderShape(
        z_dim=first[1],
        patch=math.isqrt(last[0] // RGB_CHANNELS),
        widths=(first[0], *(end[0] for end in ends)),
        time=tuple(growth[0] // growth[1] for growth in growths),
    )


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
