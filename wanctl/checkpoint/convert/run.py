"""`wanctl weights convert`: the same weights under other names, in other files and formats.

A file that is there whole is not written again, so that a run that was stopped goes on. The VAE
keeps its fp32: what its encoder loses in 16 bits shows in every video.
"""

import errno
import glob
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wanctl.checkpoint.configs import vae_shape_from_tensors
from wanctl.checkpoint.convert.plan import DTYPES, KEY, LAYOUTS, File, Wish, folder_of, planned
from wanctl.checkpoint.expected import check_part
from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.lazy_tensors import write_lazies, write_pth
from wanctl.checkpoint.load import read_dit_shape
from wanctl.checkpoint.parts import PARTS, TEXT, TRANSFORMER, VAE, Part, open_parts
from wanctl.checkpoint.pipeline_config import part_config, pipeline_files, vae_shape
from wanctl.checkpoint.tensor_files import (
    WeightsError,
    fingerprint,
    read_metadata,
    write_config,
)
from wanctl.errors import UserError, unknown
from wanctl.log import Bar, log, progress
from wanctl.model.variants import DiTShape, VAEShape

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def convert(source: str, to: Path, wish: Wish) -> list[Path]:
    """Write what a folder, file or hub id holds in another layout or format.

    Returns:
        The files of weights.

    Raises:
        UserError: nothing there, or nothing that can be written like that.
    """
    _check_wish(wish)
    found = find_components(source)
    wish = replace(wish, two=bool(found.dit_low))
    parts = [p for p in open_parts(found) if not wish.parts or p.name in wish.parts]
    _check(found, parts, to, wish)
    words = [part.vocabulary.count for part in parts if part.vocabulary]
    key = fingerprint((f for p in parts for f in p.files), about=f"{wish} {words}")[:16]
    dit = read_dit_shape(found) if found.dit else None
    vae = vae_shape(found, parts)
    files = [
        file
        for part in parts
        for file in planned(part, to, wish, {KEY: key, "wanctl.layout": wish.layout}, dit)
    ]
    left = [file for file in files if not _is_done(file)]
    if len(left) < len(files):
        log.info("%d of %d files are there", len(files) - len(left), len(files))
    _refuse_foreign(files)
    sizes = {id(file): sum(lazy.nbytes for lazy in file.tensors.values()) for file in left}
    try:
        with progress(sum(sizes.values()), "bytes") as bar:
            for file in left:
                _write(file, key, bar)
        if to.suffix != ".safetensors":
            _describe(found, parts, to, wish, dit, vae)
            _write_indices(files)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room, or name another place" if full else "name another place"
        raise UserError(f"{error.filename or to}: {error.strerror or error}; {advice}") from None
    return [file.path for file in files]


def parse_size(text: str | None) -> int | None:
    """`5GB` -> bytes.

    Raises:
        UserError: no number of KB, MB or GB.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB)?", text.strip().upper())
    if not match or not float(match[1]):
        raise UserError(f"--max-shard-size: got {text!r}; say it like 5GB or 500MB")
    return int(float(match[1]) * UNITS[match[2] or ""])


def _check_wish(wish: Wish) -> None:
    if wish.layout not in LAYOUTS:
        raise UserError(f"--layout: {unknown('layout', wish.layout, LAYOUTS)}")
    if wish.dtype is not None and wish.dtype not in DTYPES:
        raise UserError(f"--dtype: {unknown('format', wish.dtype, DTYPES)}")
    for name in wish.parts:
        if name not in PARTS:
            raise UserError(f"--part: {unknown('part', name, PARTS)}")
    if wish.dtype == "fp8" and wish.layout == "diffusers":
        raise UserError(
            "--dtype fp8: diffusers reads no scaled fp8; take --layout single or official"
        )


def _check(found: Components, parts: Sequence[Part], to: Path, wish: Wish) -> None:
    if not parts:
        raise WeightsError(f"{found.root}: holds none of {', '.join(wish.parts or PARTS)}")
    if to.suffix == ".safetensors" and (len(parts) > 1 or wish.layout != "single"):
        raise UserError(
            f"{to}: one file holds one part of layout `single`, and here are "
            f"{', '.join(p.name for p in parts)} as {wish.layout}; name one with --part, or give a "
            "folder"
        )
    if to.exists() and to.is_dir() == (to.suffix == ".safetensors"):
        lies, need = ("folder", "file") if to.is_dir() else ("file", "folder")
        raise UserError(f"{to}: is a {lies}, where a {need} is wanted; name another place")
    sources = {path.resolve() for part in parts for path in part.files}
    if any(to.resolve() in (path, *path.parents) for path in sources):
        raise UserError(f"{to}: holds the weights that are read; name another place")
    for part in parts:
        if part.clashes:
            raise WeightsError(
                f"{part.files[0].parent}: {part.clashes[0]} lies in two files; remove one"
            )
        check_part(part, found)
    shape = vae_shape(found, parts)
    published = shape and vae_shape_from_tensors(_of(parts, VAE).shapes, "")
    if shape != published and wish.layout != "diffusers":
        raise UserError(
            f"{_of(parts, VAE).files[0]}: its latents have statistics of their own, for which "
            f"layout {wish.layout} has no place; take --layout diffusers, or leave it out with "
            "--part"
        )


def _of(parts: Sequence[Part], name: str) -> Part:
    return next(part for part in parts if part.name == name)


def _is_done(file: File) -> bool:
    if not file.path.is_file():
        return False
    if file.path.suffix == ".pth":
        note = _note(file.path)
        return note.is_file() and note.read_text(encoding="utf-8") == file.metadata[KEY]
    try:
        return read_metadata(file.path).get(KEY) == file.metadata[KEY]
    except WeightsError:
        return False


def _refuse_foreign(files: Sequence[File]) -> None:
    """Weights that lie where a conversion writes, or would clear away, have to be of one."""
    for file in files:
        stem = _network(file.path)
        for path in sorted(file.path.parent.glob(f"{glob.escape(stem)}*{file.path.suffix}")):
            if _network(path) == stem and not _is_converted(path):
                raise UserError(
                    f"{path}: is there, and no conversion wrote it; remove it or name another place"
                )


def _is_converted(path: Path) -> bool:
    if path.suffix == ".pth":
        return _note(path).is_file()
    try:
        return KEY in read_metadata(path)
    except WeightsError:
        return False


def _network(path: Path) -> str:
    """A file's name without its number among shards."""
    return re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)


def _note(path: Path) -> Path:
    """Where a `.pth`, which has no header, says what it was made from."""
    return path.with_name(f".{path.name}.source")


def _write(file: File, key: str, bar: Bar) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    if file.path.suffix == ".pth":
        write_pth(file.path, file.tensors, bar)
        _note(file.path).write_text(key, encoding="utf-8")
    else:
        write_lazies(file.path, file.tensors, file.metadata, bar)


def _write_indices(files: Sequence[File]) -> None:
    """The index of every network that is split, and none beside one that is not."""
    networks: dict[tuple[Path, str], list[File]] = {}
    for file in files:
        if file.path.suffix == ".safetensors":
            networks.setdefault((file.path.parent, _network(file.path)), []).append(file)
    for (folder, stem), group in networks.items():
        index = folder / f"{stem}.safetensors.index.json"
        kept = {file.path for file in group}
        for path in folder.glob(f"{glob.escape(stem)}*.safetensors"):
            if path not in kept and _network(path) == stem:
                path.unlink()
        if len(group) == 1:
            index.unlink(missing_ok=True)
            continue
        total = sum(lazy.nbytes for file in group for lazy in file.tensors.values())
        weight_map = {name: file.path.name for file in group for name in file.tensors}
        write_config(index, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _describe(
    found: Components,
    parts: Sequence[Part],
    to: Path,
    wish: Wish,
    dit: DiTShape | None,
    vae: VAEShape | None,
) -> None:
    """Configurations, tokenizer, and what makes a pipeline of the folder."""
    if wish.layout == "single":
        return
    for part in parts:
        config: Any = part_config(part, wish.layout, dit, vae)
        if config is not None:
            folder = folder_of(part, to, wish)
            write_config(folder / "config.json", config)
    names = {part.name for part in parts}
    if found.tokenizer and TEXT in names:
        place = "tokenizer" if wish.layout == "diffusers" else "google/umt5-xxl"
        shutil.copytree(found.tokenizer, to / place, dirs_exist_ok=True)
    if wish.layout == "diffusers" and dit and {TRANSFORMER, VAE, TEXT} <= names:
        for name, said in pipeline_files(parts, dit).items():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            write_config(to / name, said)
