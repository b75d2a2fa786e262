"""`wanctl weights list PATH...`: the models, LoRAs and parts in folders, recognised by headers."""

import os
from collections.abc import Iterator
from pathlib import Path

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.folders import (
    CACHED,
    STEM,
    hub_snapshot,
    shard_groups,
    weight_files,
)
from wanctl.checkpoint.files.tensor_files import WEIGHT_SUFFIXES
from wanctl.checkpoint.inspection.identify import identify
from wanctl.checkpoint.lora.files import PEFT_CONFIG

COLUMNS = ("path", "kind", "checkpoint", "runs", "size", "licence", "note")
# Entries that make a folder one model.
OF_A_MODEL = ("model_index.json", "high_noise_model", "transformer", "dit")


def inventory(roots: list[Path]) -> Iterator[tuple[str, ...]]:
    """One row of COLUMNS for each model, LoRA and part below these files and folders.

    Raises:
        WeightsError: there is no such file or folder.
    """
    for root in roots:
        if not root.exists():
            raise WeightsError(f"{root}: no such file or folder")
        for unit in _units(root):
            yield _row(unit)


def _units(root: Path) -> Iterator[tuple[Path, ...]]:
    """Files that belong together, or one folder with a model."""
    if root.is_file():
        yield (root,)
        return
    if root.name.startswith(CACHED) and (root / "snapshots").is_dir():
        try:
            root = hub_snapshot(root)
        except WeightsError:  # a download that did not begin
            return
    if any((root / name).exists() for name in OF_A_MODEL) or _has_network(root):
        yield (root,)
        return
    files = [path for path in root.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file()]
    try:
        groups = shard_groups(files)
    except WeightsError:  # a shard is missing: each is named
        groups = [(path,) for path in sorted(files)]
    yield from groups
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and not folder.is_symlink():
            yield from _units(folder)


def _has_network(folder: Path) -> bool:
    """Whether a folder holds one network under a published name."""
    try:
        return bool(weight_files(folder, STEM)) or (folder / PEFT_CONFIG).is_file()
    except WeightsError:
        return True  # and its row says what is missing


def _row(unit: tuple[Path, ...]) -> tuple[str, ...]:
    first = unit[0]
    identity = identify(unit)
    row, found = identity.row, identity.recognition
    why = (found.why_not if found else row.unsupported) if row else None
    runs = "" if identity.kind != "model" else "no" if why or row is None else "yes"
    problem = identity.problem.removeprefix(f"{first}: ").partition("; need ")[0]
    note = problem or why or ""
    alike = len(found.alike) if found and not found.named else 0
    note = note or (f"or one of {alike} with the same tensors" if alike else "")
    return (
        str(first), identity.kind, row.name if row else "", runs, _size(unit),
        row.licence if row else "", note,
    )  # fmt: skip


def _size(unit: tuple[Path, ...]) -> str:
    files = unit
    if unit[0].is_dir():
        files = tuple(
            Path(folder) / name for folder, _, names in os.walk(unit[0]) for name in names
        )
    return f"{sum(path.stat().st_size for path in files if path.exists()) / 1e9:.2f} GB"
