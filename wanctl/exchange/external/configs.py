"""dataset.toml of musubi-tuner and of diffusion-pipe."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wanctl.exchange.external.cells import clips_of, exists
from wanctl.exchange.external.clips import ExternalClip, ExternalDataset, LayoutError
from wanctl.exchange.external.folders import folder_clips
from wanctl.exchange.external.rows import read_rows
from wanctl.model.shapes import valid_frames
from wanctl.textfiles import TextError, read_text, split_lines


def read_config(path: Path) -> ExternalDataset:
    """The clips of all folders and indexes that a dataset.toml names.

    Raises:
        LayoutError: the file cannot be read, or names a folder that is not there.
    """
    try:
        config = tomllib.loads("\n".join([*split_lines(read_text(path)), ""]))
    except TextError as error:
        raise LayoutError(str(error)) from error
    except RecursionError as error:
        raise LayoutError(f"{path}: not readable: nested too deeply") from error
    except ValueError as error:
        raise LayoutError(f"{path}: not readable: {error}") from error
    if "directory" in config:
        return _diffusion_pipe(path, config)
    if "datasets" in config:
        return _musubi(path, config)
    raise LayoutError(
        f"{path}: not readable: neither [[datasets]] (musubi-tuner) nor [[directory]] "
        "(diffusion-pipe)"
    )


def _diffusion_pipe(path: Path, config: Mapping[str, Any]) -> ExternalDataset:
    clips: list[ExternalClip] = []
    notes: list[str] = []
    for number, block in _blocks(path, config, "directory"):
        if "path" not in block:
            raise LayoutError(f"{path}: [[directory]] {number}: no key `path`")
        folder, more = _folder(path, block, "path")
        found, about = folder_clips(folder)
        clips += _repeated(found, path, f"[[directory]] {number}", block, config)
        notes += [*more, *about]
    return ExternalDataset("diffusion-pipe", clips, notes)


def _musubi(path: Path, config: Mapping[str, Any]) -> ExternalDataset:
    general = config.get("general", {})
    general = general if isinstance(general, dict) else {}
    clips: dict[Path, ExternalClip] = {}
    notes: list[str] = []
    caches: list[str] = []
    for number, block in _blocks(path, config, "datasets"):
        extension = block.get("caption_extension", general.get("caption_extension", ".txt"))
        if not isinstance(extension, str) or not extension:
            raise LayoutError(
                f'{path}: [[datasets]] {number}: caption_extension: got {extension!r}, need ".txt"'
            )
        found, about = _block(path, number, block, extension)
        for clip in _repeated(found, path, f"[[datasets]] {number}", block, general):
            clips.setdefault(clip.path / clip.name if clip.error else clip.path, clip)
        notes += [*about, *_pitfalls(block, caches)]
    return ExternalDataset("musubi-tuner", list(clips.values()), list(dict.fromkeys(notes)))


def _repeated(
    clips: Sequence[ExternalClip],
    toml: Path,
    where: str,
    block: Mapping[str, Any],
    general: Mapping[str, Any],
) -> list[ExternalClip]:
    """The clips of a block with its `num_repeats`, else that of all blocks.

    Raises:
        LayoutError: it is no positive number.
    """
    repeats = block.get("num_repeats", general.get("num_repeats", 1))
    if isinstance(repeats, bool) or not isinstance(repeats, int | float) or not repeats > 0:
        raise LayoutError(f"{toml}: {where}: num_repeats: got {repeats!r}, need a number above 0")
    return [replace(clip, repeats=repeats) for clip in clips]


def _pitfalls(block: Mapping[str, Any], caches: list[str]) -> Iterator[str]:
    """Settings of a block that do something else than they seem to; `caches` are those before."""
    cache = block.get("cache_directory")
    if cache in caches:
        yield f"cache_directory {cache} serves two [[datasets]]; each needs its own"
    caches += [cache] if isinstance(cache, str) else []
    counts = block.get("target_frames", [])
    counts = counts if isinstance(counts, list) else [counts]
    if wrong := [n for n in counts if not isinstance(n, int) or not valid_frames(n)]:
        yield f"target_frames {wrong} are not 4n+1 and will be cut down"


def _block(
    toml: Path, number: int, block: Mapping[str, Any], extension: str
) -> tuple[list[ExternalClip], list[str]]:
    clips: list[ExternalClip] = []
    notes: list[str] = []
    keys = ("video_directory", "image_directory", "video_jsonl_file", "image_jsonl_file")
    if not any(key in block for key in keys):
        raise LayoutError(f"{toml}: [[datasets]] {number}: none of the keys {', '.join(keys)}")
    for key in keys[:2]:
        if key in block:
            folder, more = _folder(toml, block, key)
            found, about = folder_clips(folder, extension)
            clips += found
            notes += [*more, *about]
    for key in keys[2:]:
        if key in block:
            clips += _index(toml, _path(toml, block, key))
    return clips, notes


def _index(toml: Path, stated: Path) -> list[ExternalClip]:
    # as musubi-tuner does: relative to the working folder first, then to the index
    index = next((path for path in (stated, toml.parent / stated) if path.is_file()), None)
    if index is None:
        raise LayoutError(f"{toml}: {stated}: no such file")
    clips = []
    for clip in clips_of(read_rows(index), index, Path()):
        near = index.parent / clip.path
        use = near if not clip.error and not exists(clip.path) and exists(near) else clip.path
        clips.append(
            ExternalClip(use, captions=clip.captions, stated=clip.stated, name=clip.name,
                         notes=clip.notes, error=clip.error)
        )  # fmt: skip
    return clips


def _blocks(
    path: Path, config: Mapping[str, Any], key: str
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The tables of an array of tables, counted from 1."""
    blocks = config[key]
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise LayoutError(f"{path}: not readable: write [[{key}]], with two brackets")
    if not blocks:
        raise LayoutError(f"{path}: not readable: {key} is empty")
    yield from enumerate(blocks, 1)


def _folder(toml: Path, block: Mapping[str, Any], key: str) -> tuple[Path, Sequence[str]]:
    """A folder that a block names: from the working folder, as the trainers read it.

    Where that has none of this name or one without videos, the folder of the file is tried.
    """
    stated = _path(toml, block, key)
    near = toml.parent / stated
    for folder in (stated, near):
        if folder.is_dir() and (folder == near or folder_clips(folder)[0]):
            moved = folder == near and not stated.is_absolute() and near.resolve() != Path(
                stated
            ).resolve()  # fmt: skip
            note = f"{key} {str(stated)!r} is read from the folder of {toml.name}; the trainer "
            return folder, [note + "reads it from its working folder"] if moved else []
    if stated.is_dir():
        return stated, []
    raise LayoutError(f"{stated}: no such folder ({key} in {toml})")


def _path(toml: Path, block: Mapping[str, Any], key: str) -> Path:
    value = block[key]
    if not isinstance(value, str) or not value or "\0" in value:
        raise LayoutError(f"{toml}: {key}: got {value!r}, need a path")
    return Path(value)
