"""Recognises the layout of another trainer's data set, and lists its clips.

Nothing is decoded here. Paths are resolved as the trainer in question resolves them. Clips that it
would skip are listed too.
"""

from collections.abc import Callable
from pathlib import Path

from wanctl.exchange.external.cells import clips_of
from wanctl.exchange.external.clips import ExternalDataset, LayoutError
from wanctl.exchange.external.configs import read_config
from wanctl.exchange.external.folders import MEDIA_LISTS, folder_clips, parallel_lists
from wanctl.exchange.external.parquet_rows import parquet_rows
from wanctl.exchange.external.rows import read_rows
from wanctl.exchange.external.webdataset import read_shards

INDEXES = (
    "videos2caption.json", "metadata.jsonl", "metadata.csv", "metadata.json", "metadata.parquet",
    "metadata.tsv", "clips.csv", "dataset.csv",
)  # fmt: skip
"""Names of index files in a folder; the first that is there counts."""


def read_layout(path: Path) -> ExternalDataset:
    """Recognise the layout of a folder or an index file, and list its clips.

    Raises:
        LayoutError: the layout is unknown, or its index is damaged.
    """
    try:
        if path.is_file():
            return _file(path)
        if not path.is_dir():
            raise LayoutError(f"{path}: no such file or folder")
        return _folder(path)
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read: {error.strerror or error}") from error


def _folder(path: Path) -> ExternalDataset:
    visible = (each for each in path.iterdir() if not each.name.startswith("."))
    files = sorted(each for each in visible if each.is_file())
    names = {each.name.lower(): each for each in files}
    tars = [each for each in files if each.suffix.lower() == ".tar"]
    tomls = [each for each in files if each.suffix.lower() == ".toml"]
    indexes = [names[name] for name in (*INDEXES, *MEDIA_LISTS) if name in names]
    indexes += tomls if len(tomls) == 1 else []
    if tars:
        return _with_others(read_shards(tars), indexes)
    if indexes:
        return _with_others(_file(indexes[0]), indexes[1:])
    clips, notes = folder_clips(path, recursive=True)
    if not clips:
        raise LayoutError(
            f"{path}: no layout that is known: wanted dataset.json (wanctl), *.tar, "
            f"{', '.join(INDEXES)}, videos.txt, one *.toml, or videos with .txt files"
        )
    if len(tomls) > 1:
        notes = [*notes, f"{len(tomls)} .toml files; name the one to check"]
    return ExternalDataset("folder of videos with .txt", clips, notes)


def _with_others(read: ExternalDataset, others: list[Path]) -> ExternalDataset:
    """The data set with a note on indexes that were there too."""
    if not others:
        return read
    names = ", ".join(each.name for each in others)
    return ExternalDataset(read.layout, read.clips, [*read.notes, f"not read, there too: {names}"])


def _file(path: Path) -> ExternalDataset:
    if path.name.lower() in MEDIA_LISTS:
        return parallel_lists(path)
    if path.name == "videos2caption.json":
        clips = clips_of(read_rows(path), path, path.parent / "videos")
        return ExternalDataset("fastvideo", clips)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        endings = ", ".join(_READERS)
        raise LayoutError(f"{path}: no index that is known ({endings}, videos.txt)")
    return reader(path)


def _index(path: Path) -> ExternalDataset:
    clips = clips_of(read_rows(path), path, path.parent)
    return ExternalDataset(f"{path.suffix.lower()[1:]} index", clips)


def _parquet(path: Path) -> ExternalDataset:
    return ExternalDataset("parquet index", clips_of(parquet_rows(path), path, path.parent))


_READERS: dict[str, Callable[[Path], ExternalDataset]] = {
    ".toml": read_config,
    ".csv": _index,
    ".tsv": _index,
    ".json": _index,
    ".jsonl": _index,
    ".ndjson": _index,
    ".parquet": _parquet,
    ".tar": lambda path: read_shards([path]),
}
