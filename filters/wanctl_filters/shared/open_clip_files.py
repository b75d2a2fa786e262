"""Finds and reads CLIP weights (open_clip) and the aesthetic head on top of CLIP."""

from pathlib import Path
from typing import Any

from wanctl.curate.api import FilterUnavailableError

_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def find_clip(name: str) -> tuple[Path | None, list[str]]:
    """Return a weights file or a folder of open_clip, or None and the places that were searched.

    Args:
        name: a path, or a hub id whose files are looked up in the hub's local cache.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path, []
    places = [str(path.absolute())]
    # A hub id is `owner/name`; anything else was meant as a path.
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        from huggingface_hub import constants, try_to_load_from_cache

        for file in _CLIP_FILES:
            cached = try_to_load_from_cache(name, file)
            if isinstance(cached, str):
                return Path(cached), []
        places = [f"{_CLIP_FILES[0]} of {name} in {constants.HF_HUB_CACHE}"]
    return None, places


def find_head(name: str) -> tuple[Path | None, list[str]]:
    """Return the head's file, or None and the places that were searched: path, torch hub cache."""
    path = Path(name).expanduser()
    if path.is_file():
        return path, []
    if path.name != name:
        return None, [str(path.absolute())]
    from torch.hub import get_dir

    cached = Path(get_dir()) / "checkpoints" / name
    return (cached, []) if cached.is_file() else (None, [str(cached)])


def load_clip(path: Path, architecture: str, device: Any) -> tuple[Any, Any]:
    """Load an open_clip model in evaluation mode and its preprocessing of PIL images."""
    import open_clip

    name, pretrained = (f"local-dir:{path}", None) if path.is_dir() else (architecture, str(path))
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, pretrained=pretrained, device=device
    )
    return model.eval(), preprocess


def load_head(path: Path, device: Any) -> list[tuple[Any, Any]]:
    """Read the (weight, bias) pairs of a head of linear layers without activations, in order.

    Reads both published layouts: the MLP (`layers.N.weight`, trained with dropout only in
    between) and the single linear layer (`weight`).

    Raises:
        FilterUnavailableError: the file is no such head.
    """
    import torch

    state = torch.load(path, map_location=device, weights_only=True)
    stems = [key.removesuffix("weight") for key in state if key.endswith("weight")]
    stems.sort(key=lambda stem: [int(part) for part in stem.split(".") if part.isdigit()])
    layers = [(state[f"{stem}weight"].float(), state[f"{stem}bias"].float()) for stem in stems]
    if not layers or layers[-1][0].shape[0] != 1:
        raise FilterUnavailableError(
            f"filter aesthetic: {path} is no aesthetic head; "
            "wanted linear layers ending in one output (layers.N.weight or weight)"
        )
    return layers
