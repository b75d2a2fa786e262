"""Checkpoints that are either complete or absent.

A checkpoint is written into a temporary folder, its manifest (sizes and checksums) last, everything
is flushed to disk, then the folder is renamed. A folder counts only if its manifest matches its
files; a damaged newest one costs a warning and the steps since the one before.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from wanctl.atomic import writing
from wanctl.checkpoint.files.write import save_tensors
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.path_names import is_inside

FORMAT = 1
MANIFEST = "manifest.json"


class CheckpointDamagedError(Exception):
    """The files of a folder do not match its manifest."""


class NoIntactCheckpointError(UserError):
    """A run has checkpoints, and all of them are damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """One verified checkpoint on disk.

    Attributes:
        path: its folder, `step-000500`.
        step: optimizer steps that were done.
        identity: values that must not differ between runs (model sizes, variant, ...).
        state: counters and other small values.
    """

    path: Path
    step: int
    identity: dict[str, Any]
    state: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Tensors of `name.safetensors` on the CPU; empty where there is no such file."""
        path = self.path / f"{name}.safetensors"
        return load_file(path) if path.exists() else {}


def write_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    identity: Mapping[str, Any],
    state: Mapping[str, Any],
) -> Path:
    """Write `folder/step-NNNNNN` with one safetensors file per entry of `tensors`.

    Raises:
        WriteError: the disk is full or cannot be written; nothing of the checkpoint is left.
    """
    final = folder / f"step-{step:06d}"
    temporary = folder / f".tmp-{final.name}"
    with writing(final):
        for leftover in folder.glob(".tmp-*"):
            shutil.rmtree(leftover)
        try:
            _write_files(temporary, step, tensors, identity=identity, state=state)
            # A rename cannot replace a folder that is not empty; only a damaged one can exist here.
            if final.exists():
                shutil.rmtree(final)
            temporary.replace(final)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)  # gigabytes on a full disk
            raise
        _fsync(folder)  # the rename itself
    return final


def _write_files(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    identity: Mapping[str, Any],
    state: Mapping[str, Any],
) -> None:
    folder.mkdir(parents=True)
    for name, values in tensors.items():
        save_tensors(folder / f"{name}.safetensors", values)
    files = {
        p.name: {"bytes": p.stat().st_size, "sha256": _sha256(p)} for p in sorted(folder.iterdir())
    }
    manifest = {
        "format": FORMAT,
        "step": step,
        "identity": identity,
        "state": state,
        "files": files,
    }
    # Last: a folder without a manifest is no checkpoint.
    text = json.dumps(manifest, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        _fsync(path)
    _fsync(folder)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest intact checkpoint; logs a warning about every damaged one that is skipped.

    Returns:
        None where there are no checkpoints.

    Raises:
        NoIntactCheckpointError: all are damaged; starting anew would replace them.
    """
    reason = ""
    for path in reversed(_by_step(folder)):
        if reason:
            log.warning("%s; going back to the one before", reason)
        try:
            return read_checkpoint(path)
        except CheckpointDamagedError as error:
            reason = f"{path} is damaged ({error})"
    if reason:
        raise NoIntactCheckpointError(
            f"{reason}, and there is none before it; delete {folder} to start anew, or give "
            "another --out"
        )
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the manifest and compare every file with it.

    Raises:
        CheckpointDamagedError: names the first file that does not match.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        step, files = int(manifest["step"]), manifest["files"]
        identity, state, version = manifest["identity"], manifest["state"], manifest["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointDamagedError(f"{MANIFEST} is missing or unreadable") from None
    if version != FORMAT:
        raise CheckpointDamagedError(f"format {version}, this version reads {FORMAT}")
    for name, expected in files.items():
        if not is_inside(name):
            raise CheckpointDamagedError(f"{MANIFEST} lists {name!r}, a file of another folder")
        file = path / name
        if not file.exists() or file.stat().st_size != expected["bytes"]:
            raise CheckpointDamagedError(f"{name} is missing or has another size")
        if _sha256(file) != expected["sha256"]:
            raise CheckpointDamagedError(f"{name} has another checksum")
    return Checkpoint(path, step, identity, state)


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep`."""
    for path in _by_step(folder)[:-keep]:
        shutil.rmtree(path)


def _by_step(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first; names of a million steps and more are longer."""
    return sorted(folder.glob("step-*"), key=lambda path: (len(path.name), path.name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
