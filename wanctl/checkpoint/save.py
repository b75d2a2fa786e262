"""Write a network's weights and config.json into a folder, in the official or diffusers layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from wanctl.atomic import make_folder, remove_leftovers
from wanctl.checkpoint.configs import dit_config
from wanctl.checkpoint.files.folders import STEM
from wanctl.checkpoint.files.tensor_files import shards, write_config
from wanctl.checkpoint.files.write import write_tensors
from wanctl.checkpoint.key_tables import dit_key_table_of, to_diffusers, vae_key_table
from wanctl.checkpoint.vae_configs import vae_config
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE

# An earlier save of this network may have left such files.
REPLACED_SUFFIXES = (".safetensors", ".pth", ".bin")

SaveLayout = Literal["official", "diffusers"]


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

    config.json is written last: a folder that has one holds a complete save.

    Args:
        model: gives the sizes, and the weights unless `tensors` does.
        folder: created if it does not exist; files of an earlier save are replaced.
        metadata: goes into the header of every file.
        tensors: other values under the same names, e.g. an average over training.
        layout: names and config as published, or as diffusers reads them.
        max_shard_bytes: larger models are split and get an index; None never splits.
    """
    tensors = model.state_dict() if tensors is None else tensors
    names = to_diffusers(tensors, dit_key_table_of(tensors)) if layout == "diffusers" else None
    write_weights(folder, _renamed(tensors, names), metadata or {}, max_shard_bytes)
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
    names = to_diffusers(tensors, vae_key_table(vae.shape)) if layout == "diffusers" else None
    write_weights(folder, _renamed(tensors, names), metadata or {})
    write_config(folder / "config.json", vae_config(vae.shape, layout))


def write_weights(
    folder: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    max_shard_bytes: int | None = None,
) -> None:
    """Write one file, or shards and their index; then remove files of an earlier save."""
    make_folder(folder)
    remove_leftovers(folder)
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
        if path.suffix in REPLACED_SUFFIXES and path.name not in written:
            path.unlink()


def _renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str] | None) -> dict[str, Tensor]:
    return {names[name] if names else name: tensor for name, tensor in tensors.items()}
