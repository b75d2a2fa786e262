"""Folders of videos and images, with a caption file each, with captions.json, or with two lists."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanctl.data.sidecars.match import SidecarMatches, match_beside
from wanctl.data.sidecars.texts import captions_in, captions_of_facts, clean, read_sidecar
from wanctl.exchange.external.cells import find_file
from wanctl.exchange.external.clips import (
    MEDIA_SUFFIXES,
    ExternalClip,
    ExternalDataset,
    LayoutError,
)
from wanctl.exchange.external.rows import INDEX_BYTES
from wanctl.textfiles import RepeatedKeys, TextError, printable, read_text, split_lines

CAPTIONS_JSON = "captions.json"
_JSON_KEYS = ("caption", "captions")
MEDIA_LISTS = ("videos.txt", "video.txt", "images.txt", "image.txt")
CAPTION_LISTS = ("captions.txt", "caption.txt", "prompts.txt", "prompt.txt")
_SHOWN = 3


@dataclass
class _Files:
    """Files below a folder.

    Attributes:
        media: videos and images, sorted.
        others: ending -> how many files have it.
    """

    media: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def folder_clips(
    folder: Path, extension: str = ".txt", *, recursive: bool = False
) -> tuple[list[ExternalClip], list[str]]:
    """Every video and image of a folder with its captions, and notes.

    Args:
        folder: holds the files.
        extension: ending of the caption files.
        recursive: also look into the folders below it.

    Raises:
        LayoutError: its captions.json cannot be read.
    """
    files = _list(folder, recursive=recursive)
    # `wanctl caption` reads .json too; trainers do not
    matches = match_beside(files.media, (extension, ".json") if recursive else (extension,))
    jsons = _all_captions_json(files.media)
    notes = []
    if recursive:  # by its name alone it may be anything
        foreign = [parent for parent, found in jsons.items()
                   if not any((parent / name) in matches.files for name in found)]  # fmt: skip
        for parent in foreign:
            notes.append(f"{parent / CAPTIONS_JSON} names no video beside it and is not used")
            del jsons[parent]
    clips = []
    used: set[Path] = {parent / CAPTIONS_JSON for parent in jsons}
    for path in files.media:
        if path.parent in jsons:
            found = captions_in(jsons[path.parent].get(path.name))
            texts = [each.text for each in found.captions]
            problems = [f"{CAPTIONS_JSON}: {problem}" for problem in found.problems]
        else:
            texts, problems = _sidecar(matches.files[path], used)
        name = path.relative_to(folder).as_posix()
        clips.append(ExternalClip(path, captions=texts, name=name, notes=problems))
    notes += _json_notes(jsons, files.media)
    notes += _unused_notes(folder, files, matches, used, extension)
    if not recursive:
        notes += _below_notes(folder)
    return clips, notes


def parallel_lists(videos: Path) -> ExternalDataset:
    """finetrainers: videos.txt and prompt.txt, line by line.

    Raises:
        LayoutError: a list cannot be read, or they have different numbers of lines: which caption
            belongs to which video cannot be told then (finetrainers refuses them too).
    """
    folder = videos.parent
    captions = next((folder / name for name in CAPTION_LISTS if (folder / name).is_file()), None)
    paths = _lines(videos)
    texts = _lines(captions) if captions else [""] * len(paths)
    if len(texts) != len(paths):  # empty lines at the end of one of them
        paths, texts = _without_empty_end(paths), _without_empty_end(texts)
    if captions and len(texts) != len(paths):
        raise LayoutError(
            f"{folder}: {videos.name} has {len(paths)} lines, {captions.name} {len(texts)}; "
            "line N of one belongs to line N of the other, put a caption with line ends on one line"
        )
    notes = [] if captions else [f"no captions: none of {', '.join(CAPTION_LISTS)} beside it"]
    clips = []
    for number, (name, text) in enumerate(zip(paths, texts, strict=True), 1):
        if not clean(name):
            if text.strip():
                place = f"{videos.name} line {number}"
                clips.append(ExternalClip(videos, name=place, error="is empty, its caption is not"))
            continue
        found = [each.text for each in captions_in(text).captions]
        if "\0" in name:
            error = "the name of the file holds NUL"
            clips.append(ExternalClip(videos, name=f"{videos.name} line {number}", error=error))
            continue
        clips.append(ExternalClip(find_file(folder, clean(name)), captions=found, name=clean(name)))
    if not clips:
        raise LayoutError(f"{videos}: lists no clip")
    return ExternalDataset("finetrainers, two files", clips, notes)


def _list(folder: Path, *, recursive: bool) -> _Files:
    files = _Files()
    for parent, names in _walk(folder, recursive=recursive):
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in MEDIA_SUFFIXES:
                files.media.append(parent / name)
            else:
                files.others[suffix or "no ending"] += 1
    return files


def _walk(folder: Path, *, recursive: bool) -> Iterator[tuple[Path, Sequence[str]]]:
    """Every folder once, however it is linked, with the names of its files."""
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise LayoutError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    for parent, below, names in os.walk(folder, onerror=refuse, followlinks=True):
        info = os.stat(parent)  # noqa: PTH116  os.walk gives text
        if (info.st_dev, info.st_ino) in seen:
            below.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        below[:] = sorted(name for name in below if not name.startswith(".")) if recursive else []
        yield Path(parent), names


def _sidecar(paths: Sequence[Path], used: set[Path]) -> tuple[list[str], list[str]]:
    """The captions in the first of the files that has any, and what is wrong with the others."""
    problems = []
    for path in paths:
        of_json = path.suffix.lower() == ".json"
        if not of_json:
            used.add(path)
        try:
            content = read_sidecar(path)
        except (TextError, FileNotFoundError) as error:
            problems.append(str(error).replace(f"{printable(str(path))}: ", f"{path.name}: "))
            continue
        if of_json:
            facts = content if isinstance(content, dict) else {}
            found = captions_of_facts(facts, _JSON_KEYS)
        else:
            found = captions_in(content)
        problems += [f"{path.name}: {problem}" for problem in found.problems]
        if found.captions:
            if of_json:
                problems.append(f"caption of {path.name}, most trainers read .txt alone")
            used.add(path)
            return [each.text for each in found.captions], problems
        problems.append(f"{path.name}: holds no caption")
    return [], problems


def _all_captions_json(media: Sequence[Path]) -> dict[Path, Mapping[str, Any]]:
    """Folder of some of the media -> its captions.json, where it has one."""
    return {
        parent: _captions_json(parent / CAPTIONS_JSON)
        for parent in dict.fromkeys(path.parent for path in media)
        if (parent / CAPTIONS_JSON).is_file()
    }


def _captions_json(path: Path) -> Mapping[str, Any]:
    try:
        found = read_sidecar(path)
    except TextError as error:
        raise LayoutError(str(error)) from error
    if not isinstance(found, dict):
        raise LayoutError(f'{path}: need an object, {{"a.mp4": ["a caption"]}}, or another name')
    return found


def _json_notes(jsons: Mapping[Path, Mapping[str, Any]], media: Sequence[Path]) -> Iterator[str]:
    known = set(media)
    for folder, captions in jsons.items():
        if gone := [name for name in captions if folder / name not in known]:
            yield f"{CAPTIONS_JSON}: {len(gone)} of its names are no files: {_some(gone)}"
        if isinstance(captions, RepeatedKeys):
            yield (
                f"{CAPTIONS_JSON}: {_some(captions.repeated)} come more than once, the last counts"
            )


def _unused_notes(
    folder: Path, files: _Files, matches: SidecarMatches, used: set[Path], extension: str
) -> Iterator[str]:
    """Files that are neither read nor listed, and captions of several files."""
    known = {*MEDIA_LISTS, *CAPTION_LISTS}
    ending = extension.lower()
    texts = {*matches.unused, *(path for found in matches.files.values() for path in found)}
    unused = sorted(
        path
        for path in texts - used
        if path.name.lower().endswith(ending) and path.name not in known
    )
    if unused:
        yield (
            f"{len(unused)} caption files are not used, no video has their name or "
            f"{CAPTIONS_JSON} counts: {_some([str(path.relative_to(folder)) for path in unused])}"
        )
    others = files.others - Counter(path.suffix.lower() for path in used)
    counts = [f"{count} {suffix}" for suffix, count in sorted(others.items())
              if suffix not in (ending, ".toml")]  # fmt: skip
    if counts:
        yield f"files that are neither video nor image are passed over: {', '.join(counts)}"
    for path, media in matches.shared.items():
        if path in used:
            names = _some([each.name for each in media])
            yield f"{path.name} is the caption of {len(media)} files, {names}"


def _below_notes(folder: Path) -> Iterator[str]:
    below = len(_list(folder, recursive=True).media) - len(_list(folder, recursive=False).media)
    if below:
        yield f"{folder}: {below} videos and images in folders below it are not read by this layout"


def _lines(path: Path) -> list[str]:
    try:
        return split_lines(read_text(path, INDEX_BYTES))
    except TextError as error:
        raise LayoutError(str(error)) from error


def _without_empty_end(lines: Sequence[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return list(lines[:end])


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + more
