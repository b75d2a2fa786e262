"""Reads the index and caption files of other trainers' data sets, as those trainers read them.

Nothing is decoded here. Paths are resolved as the trainer in question resolves them. Clips that it
would skip are listed too.
"""

import csv
import json
import tarfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanctl.errors import UserError
from wanctl.model.shapes import valid_frames
from wanctl.video.footage import VIDEO_SUFFIXES

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
PATH_KEYS = ("video", "video_path", "video_file", "file_name", "path", "image", "image_path")
CAPTION_KEYS = ("caption", "prompt", "text", "cap", "captions")


class LayoutError(UserError):
    """The folder or file is in no layout that can be read."""


@dataclass(frozen=True)
class ExternalClip:
    """One clip as an external data set lists it.

    Attributes:
        path: the video or image, or the tar that holds it.
        member: name within the tar; empty for a plain file.
        captions: empty where the clip has none.
        stated: properties that the index states: num_frames, fps, height, width.
        name: short name for the output.
    """

    path: Path
    member: str = ""
    captions: Sequence[str] = ()
    stated: Mapping[str, float] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class ExternalDataset:
    """The clips that an external data set lists.

    Attributes:
        layout: name of the layout that was recognised.
        clips: its clips, in its own order.
        notes: problems of the data set as a whole.
    """

    layout: str
    clips: Sequence[ExternalClip]
    notes: Sequence[str] = ()


def read_layout(path: Path) -> ExternalDataset:
    """Recognise the layout of a folder or an index file, and list its clips.

    Raises:
        LayoutError: the layout is unknown, or its index is damaged.
    """
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise LayoutError(f"{path}: no such file or folder")
    if tars := sorted(path.glob("*.tar")):
        return ExternalDataset("webdataset", [item for tar in tars for item in _tar(tar)])
    for name in ("videos2caption.json", "metadata.jsonl", "metadata.csv", "metadata.json",
                 "clips.csv", "dataset.csv"):  # fmt: skip
        if (path / name).is_file():
            return _file(path / name)
    tomls = sorted(path.glob("*.toml"))
    if len(tomls) == 1:
        return _file(tomls[0])
    for videos in ("videos.txt", "video.txt"):
        if (path / videos).is_file():
            return _parallel_lists(path, path / videos)
    items = list(_folder(path, ".txt"))
    if not items:
        raise LayoutError(
            f"{path}: no layout that is known: wanted dataset.json (wanctl), *.tar, metadata.csv, "
            "metadata.jsonl, videos2caption.json, videos.txt, one *.toml, or videos with .txt files"
        )
    return ExternalDataset("folder of videos with .txt", items)


def _file(path: Path) -> ExternalDataset:
    try:
        if path.suffix == ".toml":
            return _toml(path)
        if path.suffix == ".tar":
            return ExternalDataset("webdataset", list(_tar(path)))
        if path.name == "videos2caption.json":
            return ExternalDataset(
                "fastvideo", list(_rows(_json_rows(path), path.parent / "videos"))
            )
        if path.suffix in (".json", ".jsonl"):
            rows = _json_rows(path)
            return ExternalDataset(f"{path.suffix[1:]} index", list(_rows(rows, path.parent)))
        if path.suffix == ".csv":
            text = path.read_text(encoding="utf-8-sig")
            rows = list(csv.DictReader(text.splitlines(keepends=True)))
            return ExternalDataset("csv index", list(_rows(rows, path.parent)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LayoutError(f"{path}: not readable: {str(error).splitlines()[0]}") from error
    raise LayoutError(f"{path}: no index that is known (.toml, .csv, .json, .jsonl, .tar)")


def _json_rows(path: Path) -> list[Mapping[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    data = json.loads(text)
    if isinstance(data, dict):
        data = data.get("data", [{"path": name, "cap": cap} for name, cap in data.items()])
    if not all(isinstance(row, dict) for row in data):
        raise ValueError("wanted a list of objects")
    return data


def _rows(rows: Sequence[Mapping[str, Any]], base: Path) -> Iterator[ExternalClip]:
    for number, row in enumerate(rows, 1):
        name = next((row[key] for key in PATH_KEYS if row.get(key)), None)
        if name is None:
            raise ValueError(f"row {number}: none of the columns {', '.join(PATH_KEYS)}")
        text = next((row[key] for key in CAPTION_KEYS if row.get(key)), "")
        texts = [text] if isinstance(text, str) else list(text)
        yield ExternalClip(
            path=base / name,
            captions=[each for each in texts if each.strip()],
            stated=_stated(row),
            name=str(name),
        )


def _stated(row: Mapping[str, Any]) -> dict[str, float]:
    size = row.get("resolution")
    sides = size if isinstance(size, dict) else {}
    values = {key: row.get(key, sides.get(key)) for key in ("num_frames", "fps", "height", "width")}
    return {key: float(value) for key, value in values.items() if value not in (None, "")}


def _parallel_lists(folder: Path, videos: Path) -> ExternalDataset:
    """finetrainers: videos.txt and prompt.txt, line by line."""
    names = ("captions.txt", "caption.txt", "prompts.txt", "prompt.txt")
    captions = next((folder / name for name in names if (folder / name).is_file()), None)
    paths = [line for line in videos.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = captions.read_text(encoding="utf-8").splitlines() if captions else []
    notes = []
    if len(texts) != len(paths):
        notes.append(f"{videos.name} has {len(paths)} lines, the captions {len(texts)}")
    texts += [""] * (len(paths) - len(texts))
    items = [
        ExternalClip(folder / path, captions=[text] if text.strip() else [], name=path)
        for path, text in zip(paths, texts, strict=False)
    ]
    return ExternalDataset("finetrainers, two files", items, notes)


def _folder(folder: Path, extension: str) -> Iterator[ExternalClip]:
    """Every video or image with its caption file; a captions.json takes precedence."""
    captions_json = folder / "captions.json"
    several = json.loads(captions_json.read_text("utf-8")) if captions_json.is_file() else None
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in MEDIA_SUFFIXES or path.name.startswith("."):
            continue
        if several is not None:
            texts = list(several.get(path.name) or ())
        else:
            side = path.with_suffix(extension)
            texts = [side.read_text(encoding="utf-8-sig").strip()] if side.is_file() else []
        yield ExternalClip(path, captions=[text for text in texts if text.strip()], name=path.name)


def _toml(path: Path) -> ExternalDataset:
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    if "directory" in config:
        return ExternalDataset("diffusion-pipe", list(_directories(config["directory"])))
    if "datasets" not in config:
        raise ValueError("neither [[datasets]] (musubi-tuner) nor [[directory]] (diffusion-pipe)")
    general = config.get("general", {})
    items: dict[Path, ExternalClip] = {}
    notes = []
    caches: list[str] = []
    for block in config["datasets"]:
        extension = block.get("caption_extension", general.get("caption_extension", ".txt"))
        for item in _block(path, block, extension):
            items.setdefault(item.path, item)
        cache = block.get("cache_directory")
        if cache in caches:
            notes.append(f"cache_directory {cache} serves two [[datasets]]; each needs its own")
        caches += [cache] if cache else []
        wrong = [n for n in block.get("target_frames", ()) if not valid_frames(n)]
        if wrong:
            notes.append(f"target_frames {wrong} are not 4n+1 and will be cut down")
    return ExternalDataset("musubi-tuner", list(items.values()), notes)


def _block(toml: Path, block: Mapping[str, Any], extension: str) -> Iterator[ExternalClip]:
    for key in ("video_directory", "image_directory"):
        if key in block:
            yield from _folder(_existing(Path(block[key])), extension)
    for key in ("video_jsonl_file", "image_jsonl_file"):
        if key in block:
            # as musubi-tuner does: relative to the working folder first, then to the index
            index = next((p for p in (Path(block[key]), toml.parent / block[key]) if p.exists()),
                         Path(block[key]))  # fmt: skip
            for item in _rows(_json_rows(index), Path()):
                near = index.parent / item.path
                use = near if not item.path.exists() and near.exists() else item.path
                yield ExternalClip(use, captions=item.captions, stated=item.stated, name=item.name)


def _directories(blocks: Sequence[Mapping[str, Any]]) -> Iterator[ExternalClip]:
    for block in blocks:
        yield from _folder(_existing(Path(block["path"])), ".txt")


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise LayoutError(f"{folder}: no such folder")
    return folder


def _tar(path: Path) -> Iterator[ExternalClip]:
    """Samples of one shard: files that share a name up to the first dot."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile():
                    folder, _, base = member.name.rpartition("/")
                    key, _, suffix = base.partition(".")
                    samples.setdefault(f"{folder}/{key}", {})[suffix.lower()] = member
            for files in samples.values():
                yield from _sample(path, tar, files)
    except tarfile.TarError as error:
        raise LayoutError(f"{path}: not a readable tar: {error}") from error


def _sample(
    path: Path, tar: tarfile.TarFile, files: Mapping[str, tarfile.TarInfo]
) -> Iterator[ExternalClip]:
    def text(suffix: str) -> str:
        stream = tar.extractfile(files[suffix]) if suffix in files else None
        return stream.read().decode("utf-8", "replace") if stream else ""

    media = [name for name in files if f".{name}" in MEDIA_SUFFIXES]
    if not media:
        return
    facts = json.loads(text("json") or "{}")
    facts = facts if isinstance(facts, dict) else {}
    caption = text("txt") or next(
        (facts[k] for k in CAPTION_KEYS if isinstance(facts.get(k), str)), ""
    )
    member = files[media[0]]
    yield ExternalClip(
        path,
        member=member.name,
        captions=[caption.strip()] if caption.strip() else [],
        stated=_stated(facts),
        name=f"{path.name}/{member.name}",
    )
