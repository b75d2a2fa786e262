"""Write LoRA files for other programs.

| layout | layers are called | read by |
|---|---|---|
| comfyui | `diffusion_model.blocks.0.self_attn.q.lora_A.weight` | ComfyUI; diffusers, but DoRA |
| kohya | `lora_unet_blocks_0_self_attn_q.lora_down.weight` | ComfyUI, kohya's trainers |
| diffusers | `transformer.blocks.0.attn1.to_q.lora_A.weight` | diffusers |
| peft | `base_model.model.blocks.0.self_attn.q.lora_A.weight` | PEFT, on a model of Wan's code |

wanctl reads all of them. Programs that know no alpha take rank for it. Where a layout's reader has
no place for an alpha, the factor is multiplied into B, which changes no product.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wanctl.atomic import make_folder
from wanctl.checkpoint.files.tensor_files import read_metadata, write_config
from wanctl.checkpoint.files.write import write_tensors
from wanctl.checkpoint.key_tables import COMMUNITY_PREFIX, DIT_KEYS, to_diffusers
from wanctl.checkpoint.lora.files import DIFFUSERS_METADATA, PEFT_CONFIG
from wanctl.checkpoint.lora.layers import BASE_PREFIX

ADAPTER_FILES = {
    "comfyui": "adapter.safetensors",
    "kohya": "adapter.safetensors",
    "diffusers": "pytorch_lora_weights.safetensors",
    "peft": "adapter_model.safetensors",
}
"""Layout -> name of its file in a folder; where PEFT and diffusers look for it."""
COMFYUI_PREFIX = COMMUNITY_PREFIX.removeprefix("model.")
KOHYA_PREFIX = "lora_unet_"
# diffusers reads an alpha of these layers only, and refuses the file for any other.
BLOCKS = "blocks."


@dataclass(frozen=True)
class LoraLayer:
    """The change of one linear layer.

    Attributes:
        down: (R, I).
        up: (O, R).
        alpha: the factor of the product is alpha / R.
        magnitude: (O,) norms of DoRA; None without.
    """

    down: Tensor
    up: Tensor
    alpha: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        """R."""
        return self.down.shape[0]

    @property
    def scaled_up(self) -> Tensor:
        """(O, R) times the factor of the product."""
        return self.up if self.alpha == self.rank else self.up * (self.alpha / self.rank)


def lora_tensors(layers: Mapping[str, LoraLayer], layout: str) -> dict[str, Tensor]:
    """The tensors of a file by key.

    Args:
        layers: official name -> change.
        layout: a key of ADAPTER_FILES.
    """
    names = to_diffusers(layers, DIT_KEYS)
    down, up = ("lora_down", "lora_up") if layout == "kohya" else ("lora_A", "lora_B")
    tensors: dict[str, Tensor] = {}
    for official, layer in layers.items():
        key = {
            "comfyui": COMFYUI_PREFIX + official,
            "kohya": KOHYA_PREFIX + official.replace(".", "_"),
            "diffusers": f"transformer.{names[official]}",
            "peft": BASE_PREFIX + official,
        }[layout]
        outside = layout == "comfyui" and not official.startswith(BLOCKS)
        no_alpha = layout == "diffusers" or outside
        tensors[f"{key}.{down}.weight"] = layer.down
        tensors[f"{key}.{up}.weight"] = layer.scaled_up if no_alpha else layer.up
        if layout in ("comfyui", "kohya") and not no_alpha:
            tensors[f"{key}.alpha"] = torch.tensor(float(layer.alpha))
        if layer.magnitude is not None and layout in ("comfyui", "kohya"):
            tensors[f"{key}.dora_scale"] = layer.magnitude[:, None]
        elif layer.magnitude is not None:
            tensors[f"{key}.lora_magnitude_vector"] = layer.magnitude
    return {key: tensor.detach().contiguous() for key, tensor in tensors.items()}


def write_lora(
    to: Path, layers: Mapping[str, LoraLayer], layout: str, metadata: Mapping[str, str]
) -> Path:
    """Write a LoRA; in a folder under the name of its layout, in place of that of another one.

    Args:
        to: a `.safetensors` file, or a folder, which is created if it does not exist.
        layers: official name -> change.
        layout: a key of ADAPTER_FILES.
        metadata: of the header.

    Returns:
        The file.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    is_file = to.suffix == ".safetensors"
    folder, path = (to.parent, to) if is_file else (to, to / ADAPTER_FILES[layout])
    make_folder(folder)
    header = {"format": "pt", **metadata}
    if layout == "peft":
        base = metadata.get("base")
        settings = {"peft_type": "LORA", "base_model_name_or_path": base, **peft_config(layers)}
        write_config(folder / PEFT_CONFIG, settings)
    if layout == "diffusers":
        names = to_diffusers(layers, DIT_KEYS)
        config = peft_config({names[official]: layer for official, layer in layers.items()})
        config |= {"lora_alpha": config["r"], "alpha_pattern": config["rank_pattern"]}  # in B
        own = {f"transformer.{key}": value for key, value in config.items()}
        header[DIFFUSERS_METADATA] = json.dumps(own, sort_keys=True)
    write_tensors(path, lora_tensors(layers, layout), header)
    if is_file:
        return path
    for name in {*ADAPTER_FILES.values(), PEFT_CONFIG}:
        if name != path.name and not (layout == "peft" and name == PEFT_CONFIG):
            (folder / name).unlink(missing_ok=True)
    return path


def peft_config(layers: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """PEFT's settings of an adapter.

    Args:
        layers: name in the model -> change.
    """
    rank, _ = Counter(layer.rank for layer in layers.values()).most_common(1)[0]
    alpha, _ = Counter(layer.alpha for layer in layers.values()).most_common(1)[0]
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {n: layer.rank for n, layer in layers.items() if layer.rank != rank},
        "alpha_pattern": {n: layer.alpha for n, layer in layers.items() if layer.alpha != alpha},
        "target_modules": sorted(layers),
        "use_dora": any(layer.magnitude is not None for layer in layers.values()),
        "use_rslora": False,
        "bias": "none",
    }


def find_adapter(folder: Path) -> Path | None:
    """The LoRA that `write_lora` has written into a folder; None where there is none."""
    paths = (folder / name for name in dict.fromkeys(ADAPTER_FILES.values()))
    return next((path for path in paths if path.is_file()), None)


def adapter_step(folder: Path) -> int | None:
    """Training step in the header of the LoRA in a folder; None where there is none."""
    path = find_adapter(folder)
    step = read_metadata(path).get("step", "") if path else ""
    return int(step) if step.isdigit() else None
