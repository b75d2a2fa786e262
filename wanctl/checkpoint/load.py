"""Loading and saving networks: any size, either layout, every tensor accounted for.

Models are built on the meta device and filled with tensors mapped from the file.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from wanctl.checkpoint.configs import (
    dit_config,
    dit_shape_from_config,
    dit_shape_from_tensors,
    vae_config,
    vae_shape_from_config,
    vae_shape_from_tensors,
    with_image_branch,
)
from wanctl.checkpoint.find import STEM, Components, find_components
from wanctl.checkpoint.key_tables import (
    DIT_KEYS,
    KeyTable,
    to_diffusers,
    to_official,
    vae22_keys,
    vae_keys,
    without_prefix,
)
from wanctl.checkpoint.lora.apply import Expert, Lora, Loras
from wanctl.checkpoint.scaled_fp8 import dequantize, is_scale_key, read_scales
from wanctl.checkpoint.tensor_files import (
    WEIGHT_SUFFIXES,
    WeightsError,
    check_tensors,
    iterate_tensors,
    read_config,
    read_metadata,
    shards,
    tensor_shapes,
    write_config,
    write_tensors,
)
from wanctl.model.dit.transformer import WanModel, keeps_fp32
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.runtime.quantize import quantize, quantized_names, quantized_tensors

SaveLayout = Literal["official", "diffusers"]

# Where a single file says its sizes, in the official spelling, in its header.
CONFIG_KEY = "wanctl.config"
# Some releases carry this norm; no code path uses it.
UNUSED = "norm_added_q"


def load_dit(
    ref: str | Path | Components,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    precision: str = "fast",
    loras: Sequence[Lora] = (),
    expert: Expert | None = None,
    quantize_to: str | None = None,
) -> WanModel:
    """Build and fill a transformer of whatever size the reference says.

    Args:
        ref: folder, weight file or hub id; or what `find_components` made of one.
        device: where the parameters go.
        dtype: of the large matrices; norms, modulation, time embedding and head stay fp32.
        precision: see `WanModel`.
        loras: merged into the weights before these are rounded to `dtype`.
        expert: which of two transformers this is.
        quantize_to: a kind of quantize.py. Each matrix is put into 8 bits as it is read, so that
            the whole is in no place in another format.

    Raises:
        WeightsError: no transformer there, its tensors are not those of its config, or a LoRA is
            of another model.
    """
    components = _components(ref)
    if not components.dit:
        raise WeightsError(f"{components.root}: holds no transformer")
    names, shapes = _official_names(components.dit, lambda _: DIT_KEYS)
    with torch.device("meta"):
        model = WanModel(_dit_shape(components, shapes), precision)

    in_8_bits = quantized_names(model) if quantize_to else ()
    # One tensor that stays a view of the file would keep every page read from it in memory.
    copy = dtype != torch.float32 or quantize_to is not None

    def stored(name: str, value: Tensor) -> dict[str, Tensor]:
        if quantize_to and name in in_8_bits:
            return quantized_tensors(name, value, quantize_to)
        return {name: value.to(torch.float32 if keeps_fp32(name) else dtype, copy=copy)}

    merged = Loras(loras, shapes, expert).merged if loras else None
    tensors = _read(model, components.dit, names, torch.device(device), stored, merged)
    if quantize_to:
        quantize(model, quantize_to)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval()


def read_dit_shape(components: Components) -> DiTShape:
    """Sizes of a transformer, by its config and the names of its tensors.

    Raises:
        WeightsError: they do not tell.
    """
    return _dit_shape(components, _official_names(components.dit or (), lambda _: DIT_KEYS)[1])


def load_vae(
    ref: str | Path | Components,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WanVAE:
    """Build and fill a VAE of whatever size the reference says.

    Raises:
        WeightsError: no VAE there, or its tensors are not those of its config.
    """
    components = _components(ref)
    if not components.vae:
        raise WeightsError(f"{components.root}: holds no VAE")
    names, shapes = _official_names(components.vae, vae_keys_of)
    if components.vae_config:
        shape = vae_shape_from_config(
            read_config(components.vae_config), str(components.vae_config)
        )
    else:
        shape = vae_shape_from_tensors(shapes, str(components.vae[0]))
    with torch.device("meta"):
        vae = WanVAE(shape)
    copy = dtype != torch.float32  # as in `load_dit`

    def stored(name: str, value: Tensor) -> dict[str, Tensor]:
        return {name: value.to(dtype, copy=copy)}

    tensors = _read(vae, components.vae, names, torch.device(device), stored)
    vae.load_state_dict(tensors, strict=True, assign=True)
    return vae.eval()


def save_dit(
    model: WanModel,
    folder: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    layout: SaveLayout = "official",
    max_shard_bytes: int | None = None,
) -> None:
    """Write config.json and the weights of a transformer.

    Args:
        model: gives the sizes, and the weights unless `tensors` does.
        folder: made if it is not there; files of an earlier save are replaced.
        metadata: goes into every file's header.
        tensors: other values under the same names, e.g. an average over training.
        layout: names and config as published, or as diffusers reads them.
        max_shard_bytes: larger models are split and get an index; None never splits.
    """
    tensors = model.state_dict() if tensors is None else tensors
    names = to_diffusers(tensors, DIT_KEYS) if layout == "diffusers" else None
    _save(folder, _renamed(tensors, names), metadata or {}, max_shard_bytes)
    write_config(folder / "config.json", dit_config(model.shape, layout))


def save_vae(
    vae: WanVAE,
    folder: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    layout: SaveLayout = "official",
) -> None:
    """Write config.json and the weights of a VAE; arguments as in `save_dit`."""
    tensors = vae.state_dict() if tensors is None else tensors
    names = to_diffusers(tensors, vae_table(vae.shape)) if layout == "diffusers" else None
    _save(folder, _renamed(tensors, names), metadata or {}, None)
    write_config(folder / "config.json", vae_config(vae.shape, layout))


def _dit_shape(components: Components, shapes: Mapping[str, tuple[int, ...]]) -> DiTShape:
    """Sizes by the config where there is one; the image branch shows in the tensors alone."""
    if not components.dit_config:
        first = (components.dit or (Path(),))[0]
        said = read_metadata(first).get(CONFIG_KEY) if components.dit else None
        if not said:
            return dit_shape_from_tensors(shapes, str(first))
        return with_image_branch(dit_shape_from_config(json.loads(said), str(first)), shapes)
    where = str(components.dit_config)
    return with_image_branch(
        dit_shape_from_config(read_config(components.dit_config), where), shapes
    )


def _components(ref: str | Path | Components) -> Components:
    return ref if isinstance(ref, Components) else find_components(ref)


def vae_table(shape: VAEShape) -> KeyTable:
    """The rows that rename a VAE of these sizes."""
    table = vae22_keys if shape.residual else vae_keys
    return table(len(shape.dim_mult), shape.num_res_blocks)


def vae_keys_of(names: Iterable[str]) -> KeyTable:
    """The table for a diffusers VAE, whose decoder's numbering tells the sizes."""
    names = list(names)
    resnets = [n.split(".") for n in names if re.match(r"decoder\.up_blocks\.\d+\.resnets\.", n)]
    levels = {int(pieces[2]) for pieces in resnets}
    blocks = max((int(pieces[4]) for pieces in resnets), default=0)
    nested = any(name.startswith("encoder.down_blocks.0.resnets.") for name in names)
    return (vae22_keys if nested else vae_keys)(len(levels), blocks)


def _official_names(
    files: Sequence[Path], keys: Callable[[Iterable[str]], KeyTable]
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Stored name -> official name, and official name -> shape, over all files."""
    stored = {name: shape for path in files for name, shape in tensor_shapes(path).items()}
    plain = without_prefix(n for n in stored if UNUSED not in n and not is_scale_key(n))
    foreign = any(n.startswith(("condition_embedder.", "quant_conv.")) for n in plain.values())
    if foreign:
        table = keys(plain.values())
        plain = dict(zip(plain, to_official(plain.values(), table).values(), strict=True))
    return plain, {official: stored[name] for name, official in plain.items()}


def _read(
    model: nn.Module,
    files: Sequence[Path],
    names: Mapping[str, str],
    device: torch.device,
    stored: Callable[[str, Tensor], dict[str, Tensor]],
    merge: Callable[[str, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """The files' tensors for a meta model, after checking every name and shape.

    Args:
        model: says what there has to be.
        files: that hold it.
        names: stored name -> official name.
        device: where they go.
        stored: official name and tensor -> what is kept of it.
        merge: of a tensor before that.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    every = {n: s for path in files for n, s in tensor_shapes(path).items()}
    found = {n: s for n, s in every.items() if n in names}
    scales = read_scales(files, every)
    check_tensors({names[n]: s for n, s in found.items()}, expected, str(files[0]))
    tensors: dict[str, Tensor] = {}
    for path in files:
        for name, tensor in iterate_tensors(path):
            if name in names:
                value = dequantize(name, tensor, scales).to(device)
                value = merge(names[name], value) if merge else value
                tensors |= stored(names[name], value)
    return tensors


def _renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str] | None) -> dict[str, Tensor]:
    return {names[name] if names else name: tensor for name, tensor in tensors.items()}


def _save(
    folder: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    max_shard_bytes: int | None,
) -> None:
    """Write one file, or shards and their index; then drop files of an earlier save."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    groups = shards(sizes, max_shard_bytes or sum(sizes.values()))
    index = folder / f"{STEM}.safetensors.index.json"
    written = [f"{STEM}.safetensors"]
    if len(groups) > 1:
        written = [f"{STEM}-{i + 1:05}-of-{len(groups):05}.safetensors" for i in range(len(groups))]
    for name, group in zip(written, groups, strict=True):
        # "format" is what transformers and diffusers look for in a header.
        header = {"format": "pt", **metadata}
        write_tensors(folder / name, {key: tensors[key] for key in group}, header)
    if len(groups) > 1:
        weight_map = {
            key: name for name, group in zip(written, groups, strict=True) for key in group
        }
        total = {"total_size": sum(sizes.values())}
        write_config(index, {"metadata": total, "weight_map": weight_map})
    else:
        index.unlink(missing_ok=True)
    for path in folder.glob(f"{STEM}*"):
        if path.suffix in WEIGHT_SUFFIXES and path.name not in written:
            path.unlink()
