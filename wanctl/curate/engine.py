"""Runs curation: every file is scanned and split once, every clip decoded once for all filters.

A unit of work is one part of the clips table, or one filter on one part; it is done when its part
file exists. Failures are rows of the quarantine, written before the part they belong to, so that
a run that is killed anywhere and started again ends with the same tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from wanctl.curate.api import Clip, FilterUnavailableError, FrameBatch, FrameSpec
from wanctl.curate.columns import CLIP_COLUMNS
from wanctl.curate.registry import NamedFilter
from wanctl.curate.shots import Detector, DetectorSettings
from wanctl.curate.split import SplitRules, make_clips
from wanctl.curate.timing import Timings
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_schema
from wanctl.data.video import Scan, read_clip, scan
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
class Site:
    """Where a run reads and writes."""

    dataset: DatasetDir
    pool: DecodePool
    timings: Timings


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
    site: Site, parts: Sequence[tuple[str, Sequence[Path]]], splitter: Splitter
) -> int:
    """Write `clips/` and `quarantine/` for every part that lacks them.

    Returns:
        The number of parts that an earlier run had finished.
    """
    todo = [(part, paths) for part, paths in parts if not site.dataset.has_part("clips", part)]
    first_seen: dict[str, str] = {}
    for row in site.dataset.read("clips", ["content_hash", "source"]).to_pylist():
        first_seen.setdefault(row["content_hash"], row["source"])
    with progress(sum(len(paths) for _, paths in todo), "scan footage") as bar:
        for part, paths in todo:
            _split_part(site, part, paths, splitter, first_seen, bar)
    return len(parts) - len(todo)


def measure(site: Site, filters: Sequence[NamedFilter]) -> int:
    """Write the evidence of every filter for every part of the data set that lacks it.

    Returns:
        The number of (part, filter) units that an earlier run had finished.

    Raises:
        FilterUnavailableError: a filter found only now that it cannot run here.
    """
    dataset = site.dataset
    todo = {
        part: [named for named in filters if not dataset.has_part(named.table, part)]
        for part in dataset.parts("clips")
    }
    rows = {
        part: dataset.read("clips", parts=[part]).to_pylist()
        for part, missing in todo.items()
        if missing
    }
    with progress(sum(len(clips) for clips in rows.values()), "measure clips") as bar:
        for part, clips in rows.items():
            _measure_part(site, part, clips, todo[part], bar)
    return len(filters) * len(todo) - sum(len(missing) for missing in todo.values())


def as_clip(row: Mapping[str, Any]) -> Clip:
    """What a filter sees of a row of the clips table."""
    return Clip(**{name: row[name] for name in CLIP_COLUMNS})


def _hidden(path: Path, root: Path) -> bool:
    return any(name.startswith(".") for name in path.relative_to(root).parts)


def _split_part(
    site: Site,
    part: str,
    paths: Sequence[Path],
    splitter: Splitter,
    first_seen: dict[str, str],
    bar: Bar,
) -> None:
    clips: list[dict[str, Any]] = []
    aside: list[dict[str, Any]] = []
    results = site.pool.map(scan, ((path, splitter.max_fps) for path in paths))
    for path, result in zip(paths, _waited(site, "scan", results), strict=True):
        source = str(path)
        if isinstance(result, Failure):
            aside.append(_aside(source, "scan", result.kind, result.message))
        elif twin := first_seen.get(result.info.content_hash):
            aside.append(_aside(source, "scan", "duplicate", f"same content as {twin}"))
        else:
            rows, short = _clips_of(site, result, splitter)
            clips += rows
            aside += short
            # a file without clips is no original, or a resumed run would judge its twin otherwise
            if rows:
                first_seen[result.info.content_hash] = source
        bar.advance(note=path.name)
    site.dataset.write_part("quarantine", part, aside)
    site.dataset.write_part("clips", part, clips)
    site.timings.save()


def _clips_of(
    site: Site, scanned: Scan, splitter: Splitter
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of clips, and a row of quarantine where shots were too short to make one."""
    with site.timings.timed("shots"):
        transitions = splitter.detect(scanned.strip, splitter.settings)
        split = make_clips(scanned, transitions, splitter.rules)
    for stage in ("scan", "shots"):
        site.timings.count(stage, scanned.info.duration_s)
    if split.rows and not split.short_s:
        return split.rows, []
    kind = "short shots" if split.rows else "no clips"
    few = f"{len(split.short_s)}, together {sum(split.short_s):.2f} s"
    error = f"shots under {splitter.rules.min_clip_s:g} s make no clip: {few}"
    return split.rows, [_aside(str(scanned.info.path), "split", kind, error)]


def _measure_part(
    site: Site,
    part: str,
    rows: Sequence[Mapping[str, Any]],
    filters: Sequence[NamedFilter],
    bar: Bar,
) -> None:
    schemas = {named.name: evidence_schema(named.filter.evidence) for named in filters}
    evidence: dict[str, list[dict[str, Any]]] = {named.name: [] for named in filters}
    aside: dict[str, list[dict[str, Any]]] = {named.name: [] for named in filters}
    for row, batches in _decoded(site, rows, filters):
        clip = as_clip(row)
        for named in filters:
            with site.timings.timed(named.name):
                found = _measured(named, clip, batches, schemas[named.name])
            site.timings.count(named.name, clip.duration_s)
            if isinstance(found, Failure):
                aside[named.name].append(
                    _aside(clip.source, named.name, found.kind, found.message, clip.id)
                )
            else:
                evidence[named.name].append(found)
        bar.advance(note=Path(clip.source).name)
    for named in filters:
        if aside[named.name]:
            site.dataset.write_part("quarantine", f"{part}-{named.key}", aside[named.name])
        site.dataset.write_part(named.table, part, evidence[named.name], schema=schemas[named.name])
    site.timings.save()


def _decoded(
    site: Site, rows: Sequence[Mapping[str, Any]], filters: Sequence[NamedFilter]
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
    results = _waited(site, "decode", site.pool.map(read_clip, tasks))
    for row, result in zip(rows, results, strict=True):
        site.timings.count("decode", row["end_s"] - row["start_s"])
        failed = isinstance(result, Failure)
        yield row, result if failed else dict(zip(specs, result, strict=True))


def _waited(site: Site, stage: str, results: Iterator[tuple[int, Any]]) -> Iterator[Any]:
    """Results of a pool, with the time spent waiting for each put down to a stage."""
    while True:
        with site.timings.timed(stage):
            item = next(results, None)
        if item is None:
            return
        yield item[1]


def _measured(
    named: NamedFilter,
    clip: Clip,
    batches: dict[FrameSpec, FrameBatch] | Failure,
    schema: pa.Schema,
) -> dict[str, Any] | Failure:
    """One row of evidence, checked against the columns that the filter declares."""
    spec = named.filter.frames()
    if isinstance(batches, Failure):
        if spec is not None:
            return batches
        batches = {}
    try:
        row = {"id": clip.id, **named.filter.measure(clip, batches[spec] if spec else None)}
        if set(row) != set(schema.names):
            got, wanted = sorted(row), sorted(schema.names)
            raise TypeError(f"measure gave the columns {got}, the filter declares {wanted}")
        pa.Table.from_pylist([row], schema=schema)
    except FilterUnavailableError:
        raise
    except Exception as error:  # a filter is a plug-in: one clip that it cannot take stops nothing
        log.debug("filter %s, clip %s", named.name, clip.id, exc_info=True)
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Failure(stage=named.name, kind="error", message=message)
    return row


def _aside(source: str, stage: str, kind: str, error: str, clip: str = "") -> dict[str, Any]:
    return {"source": source, "clip_id": clip, "stage": stage, "kind": kind, "error": error}
