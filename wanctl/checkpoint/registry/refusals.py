"""Say what a file or folder is that holds no model: a LoRA, a part, a side file, no weights."""

import re
from collections.abc import Mapping
from pathlib import Path

from wanctl.checkpoint.files.folders import STEM, training_leftovers, weight_paths
from wanctl.checkpoint.files.kinds import describe, holds_weights
from wanctl.checkpoint.files.tensor_files import WEIGHT_SUFFIXES, tensor_names, tensor_shapes
from wanctl.checkpoint.lora.files import PEFT_CONFIG
from wanctl.checkpoint.lora.write import find_adapter
from wanctl.checkpoint.prefixes import are_of_tiny_decoder
from wanctl.checkpoint.registry.structures import Shapes, layout_md5
from wanctl.checkpoint.registry.table import checkpoints
from wanctl.checkpoint.registry.types import Checkpoint

LORA_KEY = re.compile(r"lora_|\.lora|lokr_|hada_|\.diff(_b|_m)?$|dora_scale|oft_")
OTHER_SUFFIXES = (".onnx", ".h5", ".zip", ".tar", ".gz", ".part", ".incomplete")

# Row -> names that at least one of its tensors has.
_NAMES: Mapping[str, re.Pattern[str]] = {
    "stand-in": re.compile(r"blocks\.\d+\.self_attn\.[qkv]_loras\.(down|up)\.weight$"),
}


def is_lora(path: Path) -> bool:
    """Whether a path is a file, or a folder of PEFT or of a training run, that holds a LoRA."""
    if path.is_dir():
        return (path / PEFT_CONFIG).is_file() or find_adapter(path) is not None
    if not path.is_file() or not holds_weights(path):
        return False
    return any(LORA_KEY.search(name) for name in tensor_names(path))


def why_no_model(path: Path) -> str:
    """What is there instead of a model, and what to do; for `PATH: ...`.

    Args:
        path: a file of weights, or a folder.
    """
    files = [path] if path.is_file() else [p for p in weight_paths(path) if holds_weights(p)]
    if any(are_of_tiny_decoder(tensor_names(file)) for file in files):
        return (
            "is a tiny decoder, which only makes outputs (model.vae_weights: FILE of `wanctl "
            "sample`) and previews; here name the VAE from which it was trained"
        )
    rows = (side_file_of(tensor_shapes(file)) for file in files)
    if row := next((row for row in rows if row), None):
        use = f"goes beside one: {row.note}"
        if row.unsupported:
            use = f"is not used: {row.unsupported}"
        return f"is {row.title}, which is no model and {use}"
    if is_lora(path):
        return "is a LoRA, no model; name it under `model.loras`, beside `model.weights`"
    if path.is_dir() and (text := _not_weights(path)):
        return text
    return (
        f"holds no weights known here{_sample_of_names(path)}; need {STEM}*.safetensors with "
        "config.json, a diffusers pipeline folder (model_index.json), a run folder (dit/, vae/), "
        f"or a {', '.join(WEIGHT_SUFFIXES[:-1])} or {WEIGHT_SUFFIXES[-1]} file"
    )


def _not_weights(folder: Path) -> str | None:
    """What a folder holds in the place of weights."""
    if text := training_leftovers(folder):
        return f"is {text}"
    suffixes = (*WEIGHT_SUFFIXES, *OTHER_SUFFIXES)
    files = sorted(path for path in folder.glob("*") if path.suffix in suffixes and path.is_file())
    bad = next((path for path in files if not holds_weights(path)), None)
    return f"holds no weights: {bad.name} is {describe(bad)}" if bad else None


def _sample_of_names(path: Path) -> str:
    """The first names of a file without a network, for an error."""
    if not path.is_file():
        return ""
    names = tensor_names(path)
    return f" ({len(names)} tensors: {', '.join(names[:3])})" if names else " (no tensors)"


def side_file_of(shapes: Shapes) -> Checkpoint | None:
    """The row of a side file; None for other files.

    Args:
        shapes: name -> shape of all tensors.
    """
    rows = [row for row in checkpoints().values() if row.kind == "side file"]
    digest = layout_md5(shapes)
    for row in rows:
        named = _NAMES.get(row.name)
        whole = row.layout.md5 is None and named and any(map(named.search, shapes))
        if whole or row.layout.md5 == digest:
            return row
    return None
