"""Load networks from weight files of any size and layout; every tensor is accounted for.

A network is built on the meta device and takes its tensors from memory-mapped files.
"""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wanctl.checkpoint.branches import lacking_parts, report_left_out
from wanctl.checkpoint.configs import (
    CONFIG_KEY,
    check_dit_sizes,
    dit_shape_from_config,
    dit_shape_from_tensors,
    with_parts,
)
from wanctl.checkpoint.diffusers_layout.animate import is_half, join_shapes, join_tensors
from wanctl.checkpoint.files.finite import finite_tensors, floating_tensors, is_finite
from wanctl.checkpoint.files.scaled_fp8 import dequantize, is_scale_key, read_scales
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    check_tensors,
    iterate_tensors,
    read_config,
    read_metadata,
    tensor_shapes,
)
from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.key_tables import (
    TEXT_KEYS,
    UNUSED_NORM,
    are_foreign,
    dit_key_table_of,
    to_official,
    vae_key_table_of,
)
from wanctl.checkpoint.lora.apply import Lora, Loras
from wanctl.checkpoint.prefixes import TEXT_ENCODER, TRANSFORMER, VAE, plain_names
from wanctl.checkpoint.side_files.identity import face_names
from wanctl.checkpoint.vae_configs import (
    check_vae_sizes,
    vae_shape_from_config,
    vae_shape_from_tensors,
)
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.precision import keeps_fp32
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, Expert, VAEShape
from wanctl.runtime.quantize import quantize, quantized_names, quantized_tensors

Shapes = Mapping[str, tuple[int, ...]]
NamedTensors = Iterable[tuple[str, Tensor]]


def load_dit(
    ref: str | Path | Components,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    precision: str = "fast",
    loras: Sequence[Lora] | Loras = (),
    expert: Expert | None = None,
    quantize_to: str | None = None,
    strict: bool = False,
) -> WanModel:
    """Build a transformer of the stored size and load its weights.

    Args:
        ref: folder, weight file or hub id; or the `Components` found there.
        device: where the parameters go.
        dtype: of the large matrices; norms, modulation, time embedding and head stay fp32.
        precision: see `WanModel`.
        loras: merged into the weights before these are rounded to `dtype`. `Loras` are merged only
            as far as their `attach` does not compute them in parallel.
        expert: which of two transformers this is.
        quantize_to: a kind of quantize.py. Each matrix is quantised to 8 bits as it is read, so
            that the full model is never held in another format.
        strict: refuse tensors and keys of LoRAs for parts that the model lacks, which else are left
            out with a warning.

    Raises:
        WeightsError: there is no transformer, its tensors do not match its config, or a LoRA
            belongs to another model.
    """
    components = _components(ref)
    if not components.dit:
        raise WeightsError(f"{components.root}: holds no transformer")
    names, shapes = official_names(components.dit, TRANSFORMER)
    with torch.device("meta"):
        model = make_dit(_dit_shape(components, shapes), precision)
    shapes = _without_lacking(model, components.dit, shapes, strict=strict)
    _check_shapes(model, components.dit, shapes)
    names = {stored: name for stored, name in names.items() if name in shapes}

    quantized = quantized_names(model) if quantize_to else set()
    if quantize_to:
        quantize(model, quantize_to)
    dtypes = {
        name: tensor.dtype
        if name in quantized or name.endswith(".scale")
        else (torch.float32 if keeps_fp32(name) else dtype)
        for name, tensor in model.state_dict().items()
    }
    device = torch.device(device)
    tensors: NamedTensors = _read(components.dit, names, device)
    if loras:
        tensors = _with_loras(tensors, loras, shapes, expert, strict=strict)
    if quantize_to:
        tensors = _quantized(tensors, quantized, quantize_to)
    _fill(model, tensors, dtypes, device, copy=dtype != torch.float32 or bool(quantize_to))
    return model.eval()


def read_dit_shape(components: Components) -> DiTShape:
    """Sizes of a transformer, from its config and the shapes of its tensors.

    Raises:
        WeightsError: neither determines the sizes.
    """
    return _dit_shape(components, official_names(components.dit or (), TRANSFORMER)[1])


def read_vae_shape(components: Components) -> VAEShape:
    """Sizes and latent statistics of a VAE, from its config or the shapes of its tensors.

    Raises:
        WeightsError: neither determines the sizes.
    """
    return _vae_shape(components, official_names(components.vae or (), VAE)[1])


def read_parameter_shapes(components: Components) -> dict[str, tuple[int, ...]]:
    """Official name -> shape of the parameters of a stored transformer."""
    with torch.device("meta"):
        model = make_dit(read_dit_shape(components))
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def load_vae(
    ref: str | Path | Components,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WanVAE:
    """Build a VAE of the stored size and load its weights.

    Raises:
        WeightsError: there is no VAE, or its tensors do not match its config.
    """
    components = _components(ref)
    if not components.vae:
        raise WeightsError(f"{components.root}: holds no VAE")
    names, shapes = official_names(components.vae, VAE)
    with torch.device("meta"):
        vae = WanVAE(_vae_shape(components, shapes))
    _check_shapes(vae, components.vae, shapes)
    device = torch.device(device)
    dtypes = dict.fromkeys(vae.state_dict(), dtype)
    tensors = _read(components.vae, names, device)
    _fill(vae, tensors, dtypes, device, copy=dtype != torch.float32)
    return vae.eval()


def _vae_shape(components: Components, shapes: Shapes) -> VAEShape:
    if components.vae_config:
        where = str(components.vae_config)
        shape = vae_shape_from_config(read_config(components.vae_config), where)
        check_vae_sizes(shape, shapes, where)
        return shape
    return vae_shape_from_tensors(shapes, str((components.vae or (Path(),))[0]))


def _dit_shape(components: Components, shapes: Shapes) -> DiTShape:
    """Sizes from the config where there is one; only the tensors show an image branch."""
    if components.dit_config:
        config, where = read_config(components.dit_config), str(components.dit_config)
        return _checked_dit_shape(config, shapes, where)
    first = (components.dit or (Path(),))[0]
    stored = read_metadata(first).get(CONFIG_KEY) if components.dit else None
    if not stored:
        return dit_shape_from_tensors(shapes, str(first))
    try:
        config = json.loads(stored)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise WeightsError(f"{first}: {CONFIG_KEY} in its header is no JSON object")
    return _checked_dit_shape(config, shapes, f"{first} ({CONFIG_KEY})")


def _checked_dit_shape(config: Mapping[str, Any], shapes: Shapes, where: str) -> DiTShape:
    """Sizes that a config states, which are those of the tensors."""
    shape = dit_shape_from_config(config, where)
    check_dit_sizes(shape, shapes, where)
    return with_parts(shape, shapes)


def _components(ref: str | Path | Components) -> Components:
    return ref if isinstance(ref, Components) else find_components(ref)


def official_names(
    files: Sequence[Path], network: str
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Joined stored name -> official name, and official name -> shape, over all files.

    Args:
        files: of one network, which may hold others as well.
        network: one of `prefixes.NETWORKS`.
    """
    stored = {name: shape for path in files for name, shape in tensor_shapes(path).items()}
    if network == TRANSFORMER:
        stored = dict(join_shapes(stored.items()))
    used = [name for name in stored if UNUSED_NORM not in name and not is_scale_key(name)]
    own = face_names(used) if network == TRANSFORMER else {}
    used = [name for name in used if name not in own]
    plain = plain_names(used, network, str(files[0]) if files else "")
    if are_foreign(plain.values()):
        tables = {VAE: vae_key_table_of, TEXT_ENCODER: lambda _: TEXT_KEYS}
        table = tables.get(network, dit_key_table_of)(plain.values())
        plain = dict(zip(plain, to_official(plain.values(), table).values(), strict=True))
    plain |= own
    return plain, {official: stored[name] for name, official in plain.items()}


def _without_lacking(
    model: WanModel, files: Sequence[Path], shapes: Shapes, *, strict: bool
) -> dict[str, tuple[int, ...]]:
    """The shapes without tensors of parts that the model lacks, e.g. an image branch.

    Raises:
        WeightsError: `strict`, and there are such tensors.
    """
    left_out = lacking_parts(shapes, model.state_dict())
    report_left_out(str(files[0]), left_out, strict=strict)
    dropped = {name for names in left_out.values() for name in names}
    return {name: shape for name, shape in shapes.items() if name not in dropped}


def _check_shapes(network: nn.Module, files: Sequence[Path], shapes: Shapes) -> None:
    """Compare the names and shapes in files with those of a network.

    Raises:
        WeightsError: they differ.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(shapes, expected, str(files[0]))


def _read(files: Sequence[Path], names: Mapping[str, str], device: torch.device) -> NamedTensors:
    """Yield (official name, finite tensor on the device) in the files' order, scaled fp8 as fp32.

    Args:
        files: of one network.
        names: joined stored name -> official name; other tensors are skipped.
        device: where the tensors go; on the CPU they are views of the mapped file.

    Raises:
        WeightsError: a tensor holds NaN or infinity.
    """
    scales = read_scales(files, [name for path in files for name in tensor_shapes(path)])

    def used(path: Path) -> NamedTensors:
        for name, tensor in iterate_tensors(path):
            if name in names or is_half(name):
                yield name, dequantize(name, tensor, scales).to(device)

    checked = (finite_tensors(floating_tensors(used(path), path), path) for path in files)
    for name, tensor in join_tensors(chain.from_iterable(checked)):
        if name in names:
            yield names[name], tensor


def _with_loras(
    tensors: NamedTensors,
    loras: Sequence[Lora] | Loras,
    shapes: Shapes,
    expert: Expert | None,
    *,
    strict: bool,
) -> NamedTensors:
    """Merge LoRAs into tensors as these are read."""
    attached = isinstance(loras, Loras)
    deltas = loras if isinstance(loras, Loras) else Loras(loras, shapes, expert, strict=strict)
    return ((name, deltas.merged(name, t, leave_paths=attached)) for name, t in tensors)


def _quantized(tensors: NamedTensors, names: Container[str], kind: str) -> NamedTensors:
    """Replace each named matrix by its 8-bit form and the scales of its rows."""
    for name, tensor in tensors:
        if name in names:
            yield from quantized_tensors(name, tensor, kind).items()
        else:
            yield name, tensor


def _fill(
    network: nn.Module,
    tensors: NamedTensors,
    dtypes: Mapping[str, torch.dtype],
    device: torch.device,
    *,
    copy: bool,
) -> None:
    """Give a network on the meta device its tensors.

    Args:
        network: on the meta device.
        tensors: by name, finite; all that the network has.
        dtypes: of each of them in the network.
        device: where the tensors are.
        copy: copy every tensor out of the mapped files. A single view among copies would keep all
            pages of its file in memory. All copies are allocated before the first tensor is read:
            what stays, allocated between what goes, leaves holes in glibc's heap (int8: twice the
            memory of the weights).

    Raises:
        WeightsError: a value leaves the range of fp16.
    """
    state: dict[str, Tensor] = {}
    if copy:
        meta = network.state_dict()
        state = {n: torch.empty(t.shape, dtype=dtypes[n], device=device) for n, t in meta.items()}
    for name, tensor in tensors:
        if copy:
            state[name].copy_(tensor)
        else:
            state[name] = tensor.to(dtypes[name])
        if dtypes[name] == torch.float16 and not is_finite(state[name]):
            raise WeightsError(
                f"{name} leaves the range of fp16 (65504); set model.dtype to bf16 or fp32"
            )
    network.load_state_dict(state, strict=True, assign=True)
