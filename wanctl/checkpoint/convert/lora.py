"""`wanctl weights convert` of a LoRA: write its matrices under the names of another layout."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wanctl.atomic import make_folder
from wanctl.checkpoint.files.tensor_files import WeightsError, is_pickle, read_metadata
from wanctl.checkpoint.key_tables import DIT_KEYS
from wanctl.checkpoint.lora.deltas import DoraDelta, LowRankDelta, Shape, WeightDelta
from wanctl.checkpoint.lora.files import DIFFUSERS_METADATA, StoredLora, read_lora
from wanctl.checkpoint.lora.keys import find_layer, parse
from wanctl.checkpoint.lora.layers import layer_names, match_deltas
from wanctl.checkpoint.lora.write import ADAPTER_FILES, LoraLayer, write_lora
from wanctl.errors import UserError, unknown

MAX_BLOCKS = 100
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SUFFIX = ".safetensors"


def convert_lora(source: Path, to: Path, layout: str, dtype: str | None = None) -> Path:
    """Write a LoRA or DoRA in another layout.

    Args:
        source: a file, or a folder with one.
        to: a folder, or a `.safetensors` file.
        layout: a key of ADAPTER_FILES.
        dtype: of the matrices, a key of DTYPES; None keeps the stored one.

    Returns:
        The file.

    Raises:
        UserError: no such layout or format, a LoRA of another kind, or a file that exists.
    """
    if layout not in ADAPTER_FILES:
        raise UserError(f"--layout: {source} is a LoRA; {unknown('layout', layout, ADAPTER_FILES)}")
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"--dtype: {source} is a LoRA; {unknown('format', dtype, DTYPES)}")
    if layout == "peft" and to.suffix == SUFFIX:
        raise UserError(f"{to}: layout peft is a folder with two files; name a folder")
    path = to if to.suffix == SUFFIX else to / ADAPTER_FILES[layout]
    if path.exists():
        raise UserError(f"{path}: exists; remove it or name another place")
    stored = read_lora(source)
    layers = {name: _in(layer, dtype) for name, layer in stored_layers(stored).items()}
    about = {} if is_pickle(stored.path) else read_metadata(stored.path)
    about = {k: v for k, v in about.items() if k not in ("format", DIFFUSERS_METADATA)}
    make_folder(path.parent)
    return write_lora(to, layers, layout, about)


def stored_layers(stored: StoredLora) -> dict[str, LoraLayer]:
    """Official name -> change of each layer of a LoRA file for any Wan transformer.

    Raises:
        WeightsError: keys that no transformer has, both experts in one file, or changes that are
            no product of two matrices.
    """
    names = layer_names(_every_parameter())
    matched = match_deltas(stored, names, _shapes(stored, names), None)
    problems = [*matched.wrong, *(key for keys in matched.left_out.values() for key in keys)]
    if problems or not matched.deltas:
        named = ", ".join(problems[:3]) or "it has no layer of a Wan transformer"
        raise WeightsError(f"LoRA {stored.path}: cannot be written under other names: {named}")
    if matched.skipped:
        raise WeightsError(
            f"LoRA {stored.path}: holds layers of both experts; part it into a file for each"
        )
    return {
        parameter.removesuffix(".weight"): _layer(stored, parameter, deltas)
        for parameter, deltas in matched.deltas.items()
    }


def _layer(stored: StoredLora, parameter: str, deltas: list[WeightDelta]) -> LoraLayer:
    delta, magnitude = deltas[0], None
    if isinstance(delta, DoraDelta) and len(delta.parts) == 1:
        magnitude, delta = delta.magnitude.flatten(), delta.parts[0]
    by_output = magnitude is None or (
        isinstance(delta, LowRankDelta) and len(magnitude) == delta.up.shape[0]
    )
    if len(deltas) > 1 or not isinstance(delta, LowRankDelta) or delta.mid is not None:
        raise WeightsError(
            f"LoRA {stored.path}: {parameter} is changed by more or other than one product of two "
            "matrices; only LoRA and DoRA of linear layers can be written under other names"
        )
    if not by_output or delta.down.ndim != 2:
        raise WeightsError(
            f"LoRA {stored.path}: {parameter} has norms of inputs, or is a convolution, for which "
            "the other layouts have no names"
        )
    return LoraLayer(delta.down, delta.up, delta.scale * len(delta.down), magnitude)


def _every_parameter() -> list[str]:
    """Names of the weights of all layers that a Wan transformer may have."""
    rows = [official for official, _ in DIT_KEYS]
    return [
        f"{row.replace('.N.', f'.{number}.')}.weight"
        for row in rows
        for number in range(MAX_BLOCKS if ".N." in row else 1)
    ]


def _shapes(stored: StoredLora, names: Mapping[str, str]) -> dict[str, Shape]:
    """Shapes of the parameters that the file changes, as its matrices show them."""
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in stored.tensors.items():
        parsed = parse(key)
        place = parsed and find_layer(parsed.layer, names)
        if parsed and place:
            sides.setdefault(place.layer, {})[parsed.role] = tensor
    return {
        f"{layer}.weight": (roles["up"].shape[0], *roles["down"].shape[1:])
        for layer, roles in sides.items()
        if "up" in roles and "down" in roles and roles["up"].ndim and roles["down"].ndim
    }


def _in(layer: LoraLayer, dtype: str | None) -> LoraLayer:
    if dtype is None:
        return layer
    magnitude = None if layer.magnitude is None else layer.magnitude.to(DTYPES[dtype])
    down, up = layer.down.to(DTYPES[dtype]), layer.up.to(DTYPES[dtype])
    return replace(layer, down=down, up=up, magnitude=magnitude)
