"""Makes a data set directory of another trainer's data set, so that it can be trained on as it is.

Every file becomes one clip from its first to its last frame, with the captions of the index; no
filter looks at it. Files are decoded once to find their frames, and stay where they are; members
of tars are unpacked. Run again, only new and changed files are read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wanctl.atomic import make_folder, replacing, write_bytes
from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.data.accounting import quarantine_row, unaccounted
from wanctl.data.dataset import DatasetDir
from wanctl.data.description import DatasetError
from wanctl.data.table_order import record_tables
from wanctl.exchange.external.archives import copy_span
from wanctl.exchange.external.clips import ExternalClip
from wanctl.exchange.readers import read_layout
from wanctl.log import log, progress
from wanctl.textfiles import printable
from wanctl.video.footage import scan_source
from wanctl.video.probe import ScanBounds
from wanctl.video.sources import SourceFile
from wanctl.video.workers.worker_pool import DecodePool, Failure

MARK = "imported.json"
CAPTIONER = "imported"
FILES_PER_PART = 1000
STRIP_FPS = 1.0  # no shots are looked for, so that hardly a frame is kept
SHOWN = 5
WHOLE = SplitRules(trim_frames=0, min_clip_s=0, max_clip_s=None)


@dataclass(frozen=True)
class DecodeOptions:
    """How footage is decoded.

    Attributes:
        workers: processes.
        timeout_s: limit per file.
        memory_bytes: limit per process.
        bounds: damage that a file may have.
    """

    workers: int
    timeout_s: float
    memory_bytes: int
    bounds: ScanBounds


class _Listed(NamedTuple):
    """What an index says of a file: its captions, and how often it is drawn."""

    captions: list[str]
    weight: float


def import_dataset(
    path: Path, target: Path, selection: str, *, recipe: str, decode: DecodeOptions
) -> None:
    """Import a folder or an index file into a data set directory.

    Args:
        path: what is imported.
        target: the data set directory; new, or one that an import of `path` made.
        selection: name of the selection that keeps all clips.
        recipe: the resolved recipe as text.
        decode: how files are decoded.

    Raises:
        LayoutError: the layout is unknown, or its index is damaged.
        DatasetError: `target` is another data set, or no file can be read.
    """
    where = str(path.resolve())
    mark = target / MARK
    if (target / "dataset.json").is_file():
        made_of = json.loads(mark.read_bytes()) if mark.is_file() else None
        if made_of != where:
            holds = f"an import of {made_of}" if made_of else "a data set of its own"
            raise DatasetError(
                f"{target}: holds {holds}, so {path} cannot be imported there; choose another "
                "--out, or leave dataset.path out to train on what is there"
            )
    external = read_layout(path)
    for note in external.notes:
        log.warning("%s: %s", path, printable(note))
    usable = [clip for clip in external.clips if not clip.error]
    _warn(path, [f"{clip.name or clip.path.name}: {clip.error}" for clip in external.clips
                 if clip.error])  # fmt: skip
    dataset = DatasetDir.create_or_open(target, recipe=recipe)
    write_bytes(mark, json.dumps(where).encode())
    listed = _listed_files(usable, target / "unpacked")
    files = [file for uri in listed if (file := _source_file(uri))]
    _warn(path, [f"{uri}: no such file" for uri in listed.keys() - {f.uri for f in files}])
    gone = {each["uri"] for each in dataset.sources} - {file.uri for file in files}
    parts = dataset.assign_sources(files, FILES_PER_PART, gone)
    failures = _scan(dataset, parts, decode)
    _warn(path, failures)
    found = _write_captions(dataset, listed)
    if not found:
        raise DatasetError(f"{path}: none of its {len(external.clips)} files can be read")
    rows = [
        {"id": clip, "kept": True, "reasons": [], "scores": [], "labels": [], "weight": one.weight}
        for clip, one in found.items()
    ]
    dataset.write_part(f"selections/{selection}", "", rows)
    without = sum(not one.captions for one in found.values())
    log.info("%s: read as %s, %d clips in %s as they are, unfiltered, %d of them without a caption",
             path, external.layout, len(found), target, without)  # fmt: skip


def _listed_files(clips: Sequence[ExternalClip], unpacked: Path) -> dict[str, _Listed]:
    """Absolute path -> what all rows that list the file say; unpacks members of tars."""
    files: dict[str, _Listed] = {}
    for clip in clips:
        file = _unpacked(clip, unpacked) if clip.member else clip.path.absolute()
        listed = files.setdefault(str(file), _Listed([], clip.repeats))
        listed.captions.extend(text for text in clip.captions if text not in listed.captions)
    return files


def _unpacked(clip: ExternalClip, folder: Path) -> Path:
    """A member of a tar as a file named by the tar, the place in it, and its own name."""
    key = hashlib.sha256(f"{clip.path.absolute()}:{clip.member}:{clip.span}".encode()).hexdigest()
    file = folder / f"{clip.path.stem}-{key[:12]}{Path(clip.member).suffix.lower()}"
    if not file.exists():
        make_folder(folder)
        with replacing(file) as temp:
            copy_span(clip.path, clip.span, temp)
    return file.absolute()


def _source_file(uri: str) -> SourceFile | None:
    path = Path(uri)
    if not path.is_file():
        return None
    info = path.stat()
    return SourceFile(uri, info.st_size, info.st_mtime_ns)


def _scan(
    dataset: DatasetDir, parts: Sequence[tuple[str, list[str]]], decode: DecodeOptions
) -> list[str]:
    """Write clips and quarantine of the parts that lack some; returns what cannot be read."""
    todo = {part: unaccounted(dataset, part, sources) for part, sources in parts}
    todo = {part: [s for s in each if s not in dataset.removed] for part, each in todo.items()}
    failures: list[str] = []
    with (
        DecodePool(decode.workers, decode.timeout_s, decode.memory_bytes) as pool,
        progress(sum(map(len, todo.values())), "import") as bar,
    ):
        for part, sources in todo.items():
            if not sources:
                continue
            clips, quarantine = _rows(dataset, "clips", part), _rows(dataset, "quarantine", part)
            tasks = ((source, STRIP_FPS, decode.bounds) for source in sources)
            for source, (_, result) in zip(sources, pool.map(scan_source, tasks), strict=True):
                bar.advance()
                if isinstance(result, Failure):
                    failed = Failure("scan", result.kind, result.message)
                    quarantine.append(quarantine_row(source, failed))
                    failures.append(f"{source}: {result.message}")
                else:
                    clips += make_clips(result[0], source, (), WHOLE).rows
            dataset.write_part("quarantine", part, quarantine)
            dataset.write_part("clips", part, clips)
    return failures


def _rows(dataset: DatasetDir, table: str, part: str) -> list[dict[str, Any]]:
    return dataset.read(table, parts=[part]).to_pylist() if dataset.has_part(table, part) else []


def _write_captions(dataset: DatasetDir, listed: Mapping[str, _Listed]) -> dict[str, _Listed]:
    """Write the captions of every clip, part by part; returns clip id -> what is listed of it."""
    table = f"captions/{CAPTIONER}@1"
    record_tables(dataset, [table])
    found: dict[str, _Listed] = {}
    for part, clips in dataset.clips_by_part(["id", "source"]):
        rows = []
        for clip in clips.to_pylist():
            one = found[clip["id"]] = listed[clip["source"]]
            rows += [
                {"id": clip["id"], "text": text, "variant": "default", "backend": CAPTIONER}
                for text in one.captions
            ]
        dataset.write_part(table, part, rows)
    return found


def _warn(path: Path, problems: Sequence[str]) -> None:
    for problem in problems[:SHOWN]:
        log.warning("%s: left out: %s", path, printable(problem))
    if len(problems) > SHOWN:
        log.warning("%s: %d more are left out", path, len(problems) - SHOWN)
