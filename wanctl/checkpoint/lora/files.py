"""Read LoRA files of any trainer: one file of any container, or a folder with one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.finite import is_finite
from wanctl.checkpoint.files.folders import hub_snapshot
from wanctl.checkpoint.files.kinds import describe, holds_weights, weight_format
from wanctl.checkpoint.files.tensor_files import (
    WEIGHT_SUFFIXES,
    is_pickle,
    iterate_tensors,
    read_config,
    read_metadata,
)

# Names in folders of PEFT and of diffusers; any other file counts if it is the only one.
FOLDER_FILES = (
    "adapter_model.safetensors", "adapter_model.bin", "pytorch_lora_weights.safetensors",
    "pytorch_lora_weights.bin",
)  # fmt: skip
PEFT_CONFIG = "adapter_config.json"
DIFFUSERS_METADATA = "lora_adapter_metadata"
LOW_PREFIX = "transformer_2."


@dataclass(frozen=True)
class StoredLora:
    """The tensors of a LoRA file.

    Attributes:
        path: the file.
        tensors: key -> tensor, finite.
        settings: PEFT's settings, which may hold the alpha; those of a pipeline begin with the name
            of the transformer.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]

    def config(self, *, low: bool) -> dict[str, Any]:
        """PEFT's settings for a transformer: the only one, or one of two experts."""
        own = LOW_PREFIX if low else "transformer."
        prefixed = {
            key.removeprefix(own): value
            for key, value in self.settings.items()
            if key.startswith(own)
        }
        return prefixed or {k: v for k, v in self.settings.items() if "." not in k}


def lora_path(path: Path) -> Path:
    """The file of weights: itself, or the one in a folder.

    Raises:
        WeightsError: there is none, or it is something else; says what.
    """
    folder = path.expanduser()
    if folder.is_dir():
        file = _in_folder(hub_snapshot(folder), path)
    elif folder.is_file():
        file = folder
    else:
        raise WeightsError(
            f"LoRA {path}: the file is not there; give a .safetensors file or PEFT's folder"
        )
    if not holds_weights(file) or weight_format(file) == "gguf":
        raise WeightsError(f"LoRA {file}: is {describe(file)}")
    return file


def read_lora(path: Path) -> StoredLora:
    """Read a LoRA file or folder; nothing is compared with a model yet.

    Raises:
        WeightsError: not there, not readable, not finite, or without any tensor.
    """
    file = lora_path(path)
    tensors = dict(iterate_tensors(file))
    if not tensors:
        raise WeightsError(f"LoRA {file}: holds no tensors")
    for key, tensor in tensors.items():
        if not is_finite(tensor):
            raise WeightsError(
                f"LoRA {file}: {key} holds NaN or infinity; its training diverged or the file is "
                "damaged: take an earlier one"
            )
    return StoredLora(file, tensors, _settings(file))


def _in_folder(folder: Path, given: Path) -> Path:
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    files = sorted(p for p in folder.iterdir() if p.suffix in WEIGHT_SUFFIXES and p.is_file())
    if len(files) == 1:
        return files[0]
    found = f"it holds {len(files)} files ({', '.join(p.name for p in files[:3])})"
    raise WeightsError(
        f"LoRA {given}: a folder without {FOLDER_FILES[0]}; {found if files else 'it holds none'}; "
        "name the file"
    )


def _settings(file: Path) -> dict[str, Any]:
    """PEFT's settings: in the folder of the file, or in its header, where diffusers puts them."""
    beside = file.parent / PEFT_CONFIG
    if file.name.startswith("adapter_model.") and beside.is_file():
        return read_config(beside)
    text = None if is_pickle(file) else read_metadata(file).get(DIFFUSERS_METADATA)
    if not text:
        return {}
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"LoRA {file}: {DIFFUSERS_METADATA} is no JSON ({error})") from None
    if not isinstance(stored, dict):
        raise WeightsError(f"LoRA {file}: {DIFFUSERS_METADATA} is no JSON object")
    return stored
