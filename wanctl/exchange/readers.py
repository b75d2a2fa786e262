"""What other trainers' data sets hold: their files of names and captions, read as they read them.

Nothing is decoded here. Paths are resolved as the trainer in question resolves them; what it would
leave out is listed all the same, with the reason.
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
from wanctl.video.footage import VIDEO_SUFFIXES

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
PATH_KEYS = ("video", "video_path", "video_file", "file_name", "path", "image", "image_path")
CAPTION_KEYS = ("caption", "prompt", "text", "cap", "captions")


class LayoutError(UserError):
    """The folder or file is in no layout that can be read."""


@dataclass(frozen=True)
class Item:
    """One clip as somebody's data set names it.

    Attributes:
        path: of the video or picture, or of the tar that holds it.
        member: name within the tar.
        captions: none where it has none.
        stated: what the layout says of the file: num_frames, fps, height, width.
        name: for people, short.
    """

    path: Path
    member: str = ""
    captions: Sequence[str] = ()
    stated: Mapping[str, float] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Listed:
    """A data set that was read.

    Attributes:
        layout: what it was taken for.
        items: its clips, in its own order.
        notes: what is wrong with the set as a whole.
    """

    layout: str
    items: Sequence[Item]
    notes: Sequence[str] = ()


def read_layout(path: Path) -> Listed:
    """Find out in which layout a folder or an index file is, and list its clips.

    Raises:
        LayoutError: it is in none that is known, or its index is damaged.
    """
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise LayoutError(f"{path}: no such file or folder")
    if tars := sorted(path.glob("*.tar")):
        return Listed("webdataset", [item for tar in tars for item in _tar(tar)])
    for name in ("videos2caption.json", "metadata.jsonl", "metadata.csv", "metadata.json",
                 "clips.csv", "dataset.csv"):  # fmt: skip
        if (path / name).is_file():
            return _file(path / name)
    tomls = sorted(path.glob("*.toml"))
    if len(tomls) == 1:
        return _file(tomls[0])
    for videos in ("videos.txt", "video.txt"):
        if (path / videos).is_file():
            return _two_files(path, path / videos)
    items = list(_folder(path, ".txt"))
    if not items:
        raise LayoutError(
            f"{path}: no layout that is known: wanted dataset.json (wanctl), *.tar, metadata.csv, "
            "metadata.jsonl, videos2caption.json, videos.txt, one *.toml, or videos with .txt files"
        )
    return Listed("folder of videos with .txt", items)


def _file(path: Path) -> Listed:
    try:
        if path.suffix == ".toml":
            return _toml(path)
        if path.suffix == ".tar":
            return Listed("webdataset", list(_tar(path)))
        if path.name == "videos2caption.json":
            return Listed("fastvideo", list(_rows(_json_rows(path), path.parent / "videos")))
        if path.suffix in (".json", ".jsonl"):
            rows = _json_rows(path)
            return Listed(f"{path.suffix[1:]} index", list(_rows(rows, path.parent)))
        if path.suffix == ".csv":
            text = path.read_text(encoding="utf-8-sig")
            rows = list(csv.DictReader(text.splitlines(keepends=True)))
            return Listed("csv index", list(_rows(rows, path.parent)))
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


def _rows(rows: Sequence[Mapping[str, Any]], base: Path) -> Iterator[Item]:
    for number, row in enumerate(rows, 1):
        name = next((row[key] for key in PATH_KEYS if row.get(key)), None)
        if name is None:
            raise ValueError(f"row {number}: none of the columns {', '.join(PATH_KEYS)}")
        text = next((row[key] for key in CAPTION_KEYS if row.get(key)), "")
        texts = [text] if isinstance(text, str) else list(text)
        yield Item(
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


def _two_files(folder: Path, videos: Path) -> Listed:
    """finetrainers: videos.txt beside prompt.txt, line by line."""
    names = ("captions.txt", "caption.txt", "prompts.txt", "prompt.txt")
    words = next((folder / name for name in names if (folder / name).is_file()), None)
    paths = [line for line in videos.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = words.read_text(encoding="utf-8").splitlines() if words else []
    notes = []
    if len(texts) != len(paths):
        notes.append(f"{videos.name} has {len(paths)} lines, the captions {len(texts)}")
    texts += [""] * (len(paths) - len(texts))
    items = [
        Item(folder / path, captions=[text] if text.strip() else [], name=path)
        for path, text in zip(paths, texts, strict=False)
    ]
    return Listed("finetrainers, two files", items, notes)


def _folder(folder: Path, extension: str) -> Iterator[Item]:
    """Every video or picture with its side-car; a captions.json there counts instead."""
    listed = folder / "captions.json"
    several = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else None
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in MEDIA_SUFFIXES or path.name.startswith("."):
            continue
        if several is not None:
            texts = list(several.get(path.name) or ())
        else:
            side = path.with_suffix(extension)
            texts = [side.read_text(encoding="utf-8-sig").strip()] if side.is_file() else []
        yield Item(path, captions=[text for text in texts if text.strip()], name=path.name)


def _toml(path: Path) -> Listed:
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    if "directory" in config:
        return Listed("diffusion-pipe", list(_directories(config["directory"])))
    if "datasets" not in config:
        raise ValueError("neither [[datasets]] (musubi-tuner) nor [[directory]] (diffusion-pipe)")
    general = config.get("general", {})
    items: dict[Path, Item] = {}
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
        wrong = [n for n in block.get("target_frames", ()) if n % 4 != 1]
        if wrong:
            notes.append(f"target_frames {wrong} are not 4n+1 and will be cut down")
    return Listed("musubi-tuner", list(items.values()), notes)


def _block(toml: Path, block: Mapping[str, Any], extension: str) -> Iterator[Item]:
    for key in ("video_directory", "image_directory"):
        if key in block:
            yield from _folder(_existing(Path(block[key])), extension)
    for key in ("video_jsonl_file", "image_jsonl_file"):
        if key in block:
            # as there: beside the working folder first, then beside the index
            index = next((p for p in (Path(block[key]), toml.parent / block[key]) if p.exists()),
                         Path(block[key]))  # fmt: skip
            for item in _rows(_json_rows(index), Path()):
                near = index.parent / item.path
                use = near if not item.path.exists() and near.exists() else item.path
                yield Item(use, captions=item.captions, stated=item.stated, name=item.name)


def _directories(blocks: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    for block in blocks:
        yield from _folder(_existing(Path(block["path"])), ".txt")


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise LayoutError(f"{folder}: no such folder")
    return folder


def _tar(path: Path) -> Iterator[Item]:
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
) -> Iterator[Item]:
    def text(suffix: str) -> str:
        stream = tar.extractfile(files[suffix]) if suffix in files else None
        return stream.read().decode("utf-8", "replace") if stream else ""

    media = [name for name in files if f".{name}" in MEDIA_SUFFIXES]
    if not media:
        return
    facts = json.loads(text("json") or "{}")
    facts = facts if isinstance(facts, dict) else {}
    words = text("txt") or next(
        (facts[k] for k in CAPTION_KEYS if isinstance(facts.get(k), str)), ""
    )
    member = files[media[0]]
    yield Item(
        path,
        member=member.name,
        captions=[words.strip()] if words.strip() else [],
        stated=_stated(facts),
        name=f"{path.name}/{member.name}",
    )
