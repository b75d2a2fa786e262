"""Weight files in folders: single files, shards with or without an index, hub caches."""

import re
from collections.abc import Iterable
from pathlib import Path

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.tensor_files import WEIGHT_SUFFIXES, read_config
from wanctl.path_names import is_inside

STEM = "diffusion_pytorch_model"
CACHED = "models--"  # how the hub cache begins the folder of a model
SAVED_VARIANTS = ("", ".fp32", ".fp16", ".bf16")  # widest first
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})(?P<rest>(\.\w+)+)")
MISSING_SHOWN = 4
# Files that training frameworks leave instead of weights -> what to do.
TRAINING_FILES = {
    ".metadata": "a distributed checkpoint of torch (DCP); join it with `python -m "
    "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt`",
    "zero_to_fp32.py": "a checkpoint of DeepSpeed's ZeRO; join it with `python zero_to_fp32.py . "
    "joined`",
}


def weight_files(folder: Path, stem: str = STEM) -> tuple[Path, ...] | None:
    """The shards of a network, or its single weight file; None where there is neither.

    Every name that diffusers and transformers give these files is known, and shards may lack their
    index.

    Raises:
        WeightsError: the index is not valid, or a file is missing.
    """
    pickled = "pytorch_model" if stem == "model" else stem
    for name, suffix in ((stem, ".safetensors"), (pickled, ".bin")):
        for variant in SAVED_VARIANTS:
            index = folder / f"{name}{suffix}.index{variant}.json"
            if index.is_file():
                return _indexed(index)
            file = folder / f"{name}{variant}{suffix}"
            if file.is_symlink() and not file.exists():
                raise WeightsError(
                    f"{file}: its download is not complete (a link to nothing); download it again"
                )
            if file.is_file():
                return (file,)
    for name, suffix in ((stem, ".safetensors"), (pickled, ".bin")):
        groups = shard_groups(folder.glob(f"{name}*-of-*{suffix}")) if folder.is_dir() else []
        if groups:
            return groups[0]
    return None


def shard_groups(files: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Files that belong together: the shards of one network, or one file alone.

    Args:
        files: paths in one folder.

    Raises:
        WeightsError: a shard is missing.
    """
    groups: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted(files):
        match = SHARD.fullmatch(path.name)
        key = (match["stem"], match["count"], match["rest"]) if match else (path.name,)
        groups.setdefault(key, []).append(path)
    for key, paths in groups.items():
        if len(key) == 1:
            continue
        numbers = {int(m["number"]) for p in paths if (m := SHARD.fullmatch(p.name))}
        missing = sorted(set(range(1, int(key[1]) + 1)) - numbers) if int(key[1]) < 10**4 else [0]
        if missing:
            named = ", ".join(map(str, missing[:MISSING_SHOWN]))
            raise WeightsError(
                f"{paths[0].parent}: {len(missing)} of {int(key[1])} shards of {key[0]} are "
                f"missing (no. {named}{', ...' * (len(missing) > MISSING_SHOWN)}); download them"
            )
    return [tuple(paths) for paths in groups.values()]


def loose_files(folder: Path) -> list[tuple[Path, ...]]:
    """Weight files of any name in a folder, shards grouped."""
    files = [path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES]
    return shard_groups([path for path in files if path.is_file()])


def weight_paths(folder: Path) -> list[Path]:
    """Files in a folder with an ending of weights, by name."""
    return sorted(p for p in folder.glob("*") if p.suffix in WEIGHT_SUFFIXES and p.is_file())


def hub_snapshot(folder: Path) -> Path:
    """The snapshot in a model's folder of the hub cache; any other folder unchanged.

    Raises:
        WeightsError: the folder holds several models, or no snapshot.
    """
    if any(path.is_dir() for path in folder.glob(f"{CACHED}*--*")):
        names = sorted(path.name for path in folder.glob(f"{CACHED}*--*"))
        raise WeightsError(
            f"{folder}: is a hub cache of {len(names)} models; name one, e.g. {folder / names[0]}"
        )
    if folder.name != "snapshots":
        if not ((folder / "snapshots").is_dir() and folder.name.startswith(CACHED)):
            return folder
        main = folder / "refs" / "main"
        folder = folder / "snapshots"
        if main.is_file():
            revision = folder / main.read_text(encoding="utf-8", errors="replace").strip()
            if revision.parent == folder and revision.is_dir():
                return revision
    revisions = [path for path in folder.iterdir() if path.is_dir()]
    if not revisions:
        raise WeightsError(f"{folder}: holds no snapshot; its download was not complete")
    return max(revisions, key=lambda path: path.stat().st_mtime)


def training_leftovers(folder: Path) -> str | None:
    """What a folder is that holds no weights but a framework's checkpoint; None for others."""
    for name, text in TRAINING_FILES.items():
        if (folder / name).is_file():
            return text
    return None


def _indexed(index: Path) -> tuple[Path, ...]:
    """The files that an index lists, in order of their names."""
    places = read_config(index).get("weight_map")
    if not places or not isinstance(places, dict):
        raise WeightsError(f"{index}: no index of shards; need tensor names under `weight_map`")
    names = sorted({str(name) for name in places.values()})
    if outside := [name for name in names if not is_inside(name)]:
        raise WeightsError(f"{index}: lists a file outside of its folder: {outside[0]!r}")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise WeightsError(
            f"{index}: {len(missing)} of {len(names)} files are missing, e.g. {missing[0]}"
        )
    return tuple(index.parent / name for name in names)
