"""Read LoRA files of any public layout into weight deltas of named parameters.

Files differ in the prefix of a layer's name (`base_model.model.`, `transformer.`,
`diffusion_model.`, `lora_unet_`), in the layer names (published or diffusers, with dots or
underscores) and in the names of the two matrices. The keys themselves show which it is, so that one
table of names serves all layouts and none has to be chosen.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torch import Tensor

from wanctl.checkpoint.files.tensor_files import (
    WEIGHT_SUFFIXES,
    WeightsError,
    iterate_tensors,
    read_config,
    read_metadata,
)
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers

PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer_2.",
    "transformer.",
    "pipe.dit.",
    "lora_unet__",
    "lora_unet_",
)
LOW_PREFIX = "transformer_2."
# Suffix of a key -> role of its tensor. The longest suffix counts.
ROLES = {
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora_down.weight": "down",
    ".lora.down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".lora_up.weight": "up",
    ".lora.up.weight": "up",
    ".lora_B.bias": "up_bias",
    ".lora_B.default.bias": "up_bias",
    ".alpha": "alpha",
    ".diff": "weight",
    ".diff_b": "bias",
    ".diff_m": "modulation",
}
PEFT_WEIGHTS = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
DIFFUSERS_METADATA = "lora_adapter_metadata"

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LowRankDelta:
    """A weight delta that is the product of two low-rank matrices.

    Attributes:
        down: (R, I) or, of a convolution, (R, I, ...).
        up: (O, R) or (O, R, 1, ...).
        scale: factor of the product.
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def width(self) -> tuple[int, int]:
        """(outputs, inputs) of the matrix that it is added to."""
        return self.up.shape[0], self.down[0].numel()


@dataclass(frozen=True)
class DenseDelta:
    """A weight delta stored as a dense tensor, as for biases and norms."""

    value: Tensor
    scale: float = 1.0


WeightDelta = LowRankDelta | DenseDelta


@dataclass(frozen=True)
class StoredLora:
    """The tensors of a LoRA file by layer.

    Attributes:
        path: the file.
        layers: (for the low-noise expert only, stored layer name) -> role -> tensor.
        unknown: keys whose role is not known.
        config: PEFT's settings, which may hold the alpha.
    """

    path: Path
    layers: Mapping[tuple[bool, str], Mapping[str, Tensor]]
    unknown: tuple[str, ...]
    config: Mapping[str, Any]


def lora_path(path: Path) -> Path:
    """The file of weights: itself, or the one in PEFT's folder.

    Raises:
        WeightsError: there is none.
    """
    file = path / PEFT_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        need = f"a folder with {PEFT_WEIGHTS}" if path.is_dir() else "the file is not there"
        raise WeightsError(f"LoRA {path}: {need}; give a .safetensors file or PEFT's folder")
    if file.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"LoRA {path}: got {file.suffix}; need {' or '.join(WEIGHT_SUFFIXES)}")
    return file


def read_lora(path: Path) -> StoredLora:
    """Read a LoRA file or PEFT folder; nothing is compared with a model yet.

    Raises:
        WeightsError: not there, not readable, or without any tensor.
    """
    file = lora_path(path)
    layers: dict[tuple[bool, str], dict[str, Tensor]] = defaultdict(dict)
    unknown = []
    for key, tensor in iterate_tensors(file):
        name, low = _bare(key)
        ending = max((e for e in ROLES if name.endswith(e)), key=len, default=None)
        if ending is None:
            unknown.append(key)
        else:
            layers[low, name.removesuffix(ending)][ROLES[ending]] = tensor
    if not layers and not unknown:
        raise WeightsError(f"LoRA {file}: holds no tensors")
    return StoredLora(file, layers, tuple(unknown), _config(file))


def match_deltas(
    stored: StoredLora, names: Mapping[str, str], shapes: Shapes, *, low: bool
) -> tuple[dict[str, WeightDelta], list[str]]:
    """Match the deltas of a file with a model: (parameter -> delta, keys that do not match).

    Args:
        stored: the file.
        names: every spelling of every layer -> its official name (`layer_names`).
        shapes: of the model's parameters, by official name.
        low: whether the model is the low-noise expert; tensors for the other one are skipped.
    """
    deltas: dict[str, WeightDelta] = {}
    wrong = [f"{key} (unknown kind)" for key in stored.unknown]
    for (for_low, layer), parts in stored.layers.items():
        if for_low and not low:
            continue
        if low and not for_low and any(other for other, _ in stored.layers):
            continue  # the file has keys for either expert, and this one is for the other
        official = names.get(layer)
        if official is None:
            wrong.append(layer)
            continue
        for parameter, delta in _of_layer(layer, official, parts, stored.config):
            reason = None if delta is None else _mismatch(delta, shapes.get(parameter))
            if delta is None or reason:
                wrong.append(f"{layer} ({reason or 'one of its two matrices is missing'})")
            else:
                deltas[parameter] = delta
    return deltas, wrong


def layer_names(parameters: Iterable[str]) -> dict[str, str]:
    """Every spelling of a layer in LoRA files -> its official name.

    Official and diffusers names, with dots or with underscores, and `blocks.N` itself, for whose
    modulation some files have a delta. Names without dots are unique, which a test asserts for all
    variants.
    """
    layers = {name.rpartition(".")[0] for name in parameters}
    spelt = {}
    for official, theirs in to_diffusers(layers, DIT_KEYS).items():
        for name in (official, theirs):
            spelt[name] = spelt[name.replace(".", "_")] = official
    return spelt


def _bare(key: str) -> tuple[str, bool]:
    """A key without the prefixes of libraries, and whether one means the low-noise expert."""
    low = False
    while prefix := next((each for each in PREFIXES if key.startswith(each)), None):
        low = low or prefix == LOW_PREFIX
        key = key.removeprefix(prefix)
    return key, low


def _of_layer(
    layer: str, official: str, parts: Mapping[str, Tensor], config: Mapping[str, Any]
) -> Iterator[tuple[str, WeightDelta | None]]:
    scale = 1.0
    if "down" in parts or "up" in parts:
        if "down" not in parts or "up" not in parts:
            yield f"{official}.weight", None
            return
        scale = _scale(layer, parts, config)
        yield f"{official}.weight", LowRankDelta(parts["down"], parts["up"], scale)
    if "up_bias" in parts:
        yield f"{official}.bias", DenseDelta(parts["up_bias"], scale)
    for role in ("weight", "bias", "modulation"):
        if role in parts:
            yield f"{official}.{role}", DenseDelta(parts[role])


def _scale(layer: str, parts: Mapping[str, Tensor], config: Mapping[str, Any]) -> float:
    """Alpha over rank; 1 for a file without alpha."""
    rank = parts["down"].shape[0]
    if "alpha" in parts:
        return float(parts["alpha"].reshape(-1)[0]) / rank
    alpha = config.get("lora_alpha")
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if layer == pattern or fnmatch(layer, f"*.{pattern}"):
            alpha = value
    if alpha is None:
        return 1.0
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _mismatch(delta: WeightDelta, shape: tuple[int, ...] | None) -> str | None:
    if shape is None:
        return "the model has no such parameter"
    if isinstance(delta, DenseDelta):
        fits = delta.value.numel() == _count(shape)
        return None if fits else f"{tuple(delta.value.shape)} instead of {shape}"
    if delta.down.shape[0] != delta.up.shape[1]:
        return f"ranks {delta.down.shape[0]} and {delta.up.shape[1]}"
    outputs, inputs = delta.width
    fits = (outputs, inputs) == (shape[0], _count(shape[1:]))
    return None if fits else f"changes {outputs}x{inputs} instead of {shape[0]}x{_count(shape[1:])}"


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _config(file: Path) -> dict[str, Any]:
    """PEFT's settings: in the folder of the file, or in its header, where diffusers puts them."""
    settings = file.parent / PEFT_CONFIG
    if file.name == PEFT_WEIGHTS and settings.is_file():
        return read_config(settings)
    text = read_metadata(file).get(DIFFUSERS_METADATA) if file.suffix == ".safetensors" else None
    if not text:
        return {}
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise WeightsError(f"LoRA {file}: {DIFFUSERS_METADATA} is no JSON ({error})") from None
    return {key.removeprefix("transformer."): value for key, value in stored.items()}
