"""Runs curation: every file is scanned and split once, every clip decoded once for all filters.

A unit of work is one part of the clips table, or one filter on one part; it is done when its part
file exists. Failures are rows of the quarantine, written before the part they belong to, so that
a run that is killed anywhere and started again ends with the same tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wanctl.curate.api import Clip, FilterUnavailableError, FrameBatch, FrameSpec
from wanctl.curate.registry import NamedFilter
from wanctl.curate.shots import Detector, DetectorSettings
from wanctl.curate.split import SplitRules, make_clips
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_schema
from wanctl.data.video import read_clip, scan
from wanctl.data.worker import DecodePool, Failure
from wanctl.errors import UserError
from wanctl.log import Bar, log, progress

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv",
        "ts", "webm", "wmv", "y4m",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Splitter:
    """How footage becomes clips."""

    detect: Detector
    settings: DetectorSettings
    rules: SplitRules
    max_fps: float


def find_footage(folder: Path) -> tuple[list[Path], int]:
    """Video files under a folder, sorted, and how many other files were passed over.

    Raises:
        UserError: the folder does not exist, is no folder, or holds no video file.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder}: {what}; name a folder with footage")
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder)
    )
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise UserError(
            f"{folder}: no video among its {len(files)} files; footage ends in "
            f"{', '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return videos, len(files) - len(videos)


def runnable(filters: Sequence[NamedFilter]) -> list[NamedFilter]:
    """Filters that can run here; an optional one that cannot is left out with a warning.

    Raises:
        FilterUnavailableError: one that is not optional cannot run.
    """
    ready = []
    for named in filters:
        try:
            named.filter.check()
        except FilterUnavailableError as error:
            if not named.filter.optional:
                raise FilterUnavailableError(
                    f"curate.filters.{named.name}: {error}; or say `optional: true`"
                ) from None
            log.warning("filter %s is left out: %s", named.name, error)
        else:
            ready.append(named)
    return ready


def split_footage(
    dataset: DatasetDir,
    parts: Sequence[tuple[str, Sequence[Path]]],
    splitter: Splitter,
    pool: DecodePool,
) -> int:
    """Write `clips/` and `quarantine/` for every part that lacks them.

    Returns:
        The number of parts that an earlier run had finished.
    """
    todo = [(part, paths) for part, paths in parts if not dataset.has_part("clips", part)]
    first_seen: dict[str, str] = {}
    for row in dataset.read("clips", ["content_hash", "source"]).to_pylist():
        first_seen.setdefault(row["content_hash"], row["source"])
    with progress(sum(len(paths) for _, paths in todo), "scan footage") as bar:
        for part, paths in todo:
            _split_part(dataset, part, paths, splitter, pool, first_seen, bar)
    return len(parts) - len(todo)


def measure(
    dataset: DatasetDir, parts: Sequence[str], filters: Sequence[NamedFilter], pool: DecodePool
) -> int:
    """Write the evidence of every filter for every part that lacks it.

    Returns:
        The number of (part, filter) units that an earlier run had finished.
    """
    todo = {
        part: [named for named in filters if not dataset.has_part(named.table, part)]
        for part in parts
    }
    rows = {
        part: dataset.read("clips", parts=[part]).to_pylist()
        for part, missing in todo.items()
        if missing
    }
    with progress(sum(len(clips) for clips in rows.values()), "measure clips") as bar:
        for part, clips in rows.items():
            _measure_part(dataset, part, clips, todo[part], pool, bar)
    return len(filters) * len(todo) - sum(len(missing) for missing in todo.values())


def as_clip(row: Mapping[str, Any]) -> Clip:
    """What a filter sees of a row of the clips table."""
    return Clip(**{field.name: row[field.name] for field in fields(Clip)})


def _hidden(path: Path, root: Path) -> bool:
    return any(name.startswith(".") for name in path.relative_to(root).parts)


def _split_part(
    dataset: DatasetDir,
    part: str,
    paths: Sequence[Path],
    splitter: Splitter,
    pool: DecodePool,
    first_seen: dict[str, str],
    bar: Bar,
) -> None:
    clips: list[dict[str, Any]] = []
    aside: list[dict[str, Any]] = []
    for index, result in pool.map(scan, ((path, splitter.max_fps) for path in paths)):
        source = str(paths[index])
        if isinstance(result, Failure):
            aside.append(_aside(source, "scan", result.kind, result.message))
        elif (twin := first_seen.setdefault(result.info.content_hash, source)) != source:
            aside.append(_aside(source, "scan", "duplicate", f"same content as {twin}"))
        else:
            rows = make_clips(
                result, splitter.detect(result.strip, splitter.settings), splitter.rules
            )
            clips += rows
            if not rows:
                short = f"no shot of at least {splitter.rules.min_clip_s:g} s"
                aside.append(_aside(source, "split", "no clips", short))
        bar.advance(note=paths[index].name)
    dataset.write_part("quarantine", part, aside)
    dataset.write_part("clips", part, clips)


def _measure_part(
    dataset: DatasetDir,
    part: str,
    rows: Sequence[Mapping[str, Any]],
    filters: Sequence[NamedFilter],
    pool: DecodePool,
    bar: Bar,
) -> None:
    evidence: dict[str, list[dict[str, Any]]] = {named.name: [] for named in filters}
    aside: dict[str, list[dict[str, Any]]] = {named.name: [] for named in filters}
    for row, batches in _decoded(rows, filters, pool):
        clip = as_clip(row)
        for named in filters:
            found = _measured(named, clip, batches)
            if isinstance(found, Failure):
                aside[named.name].append(
                    _aside(clip.source, named.name, found.kind, found.message, clip.id)
                )
            else:
                evidence[named.name].append({"id": clip.id, **found})
        bar.advance(note=Path(clip.source).name)
    for named in filters:
        if aside[named.name]:
            dataset.write_part("quarantine", f"{part}-{named.key}", aside[named.name])
        schema = evidence_schema(named.filter.evidence)
        dataset.write_part(named.table, part, evidence[named.name], schema=schema)


def _decoded(
    rows: Sequence[Mapping[str, Any]], filters: Sequence[NamedFilter], pool: DecodePool
) -> Iterator[tuple[Mapping[str, Any], dict[FrameSpec, FrameBatch] | Failure]]:
    """Each clip with the frames that its filters want, decoded in one pass."""
    wanted = (named.filter.frames() for named in filters)
    specs = list(dict.fromkeys(spec for spec in wanted if spec is not None))
    if not specs:
        yield from ((row, {}) for row in rows)
        return
    tasks = (
        (Path(row["source"]), row["start_pts"], row["end_pts"], specs, row["width"], row["height"])
        for row in rows
    )
    for index, result in pool.map(read_clip, tasks):
        failed = isinstance(result, Failure)
        yield rows[index], result if failed else dict(zip(specs, result, strict=True))


def _measured(
    named: NamedFilter, clip: Clip, batches: dict[FrameSpec, FrameBatch] | Failure
) -> Mapping[str, Any] | Failure:
    spec = named.filter.frames()
    if isinstance(batches, Failure):
        if spec is not None:
            return batches
        batches = {}
    try:
        return named.filter.measure(clip, batches[spec] if spec else None)
    except Exception as error:  # a filter is a plug-in: one clip that it cannot take stops nothing
        log.debug("filter %s, clip %s", named.name, clip.id, exc_info=True)
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Failure(stage=named.name, kind="error", message=message)


def _aside(source: str, stage: str, kind: str, error: str, clip: str = "") -> dict[str, Any]:
    return {"source": source, "clip_id": clip, "stage": stage, "kind": kind, "error": error}
