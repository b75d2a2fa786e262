"""Scans footage and splits it into clips, part by part.

Parts depend neither on each other nor on their order. A file with the same bytes as another file
of its part goes to the quarantine as a duplicate; copies in other parts stay in the clips table,
of which `DatasetDir.clips` returns every clip once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from wanctl.curate.context import RunContext
from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.curate.split.shots import Detector, DetectorSettings
from wanctl.data.accounting import align_evidence, quarantine_row, unaccounted
from wanctl.data.provenance import record_detector
from wanctl.log import Bar
from wanctl.video.footage import scan_source
from wanctl.video.probe import Scan, ScanBounds
from wanctl.video.workers.worker_pool import Failure

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Splitter:
    """Settings of splitting.

    Attributes:
        detect: the shot detector.
        settings: of the detector.
        rules: for making clips of shots.
        max_fps: frames per second of the strip.
        bounds: how much of a file may be damaged.
    """

    detect: Detector
    settings: DetectorSettings
    rules: SplitRules
    max_fps: float
    bounds: ScanBounds


def split_parts(
    context: RunContext, parts: Sequence[tuple[str, Sequence[str]]], splitter: Splitter
) -> int:
    """Write `clips/` and `quarantine/` for every part in which a source has no result.

    Only these sources are scanned; clips of the others stay as they are.

    Args:
        context: where to write, and the worker processes.
        parts: (part, its sources) each.
        splitter: settings of splitting.

    Returns:
        The number of parts that an earlier run had finished.
    """
    opened = [_Part(context, *part, splitter) for part in parts]
    todo = [part for part in opened if part.todo]
    files = [(part, index) for part in todo for index in part.todo]
    if files:
        record_detector(context.dataset, splitter.detect.__name__)
    bar = context.reporter.progress_display.bar(len(files), "scan footage")
    tasks = ((part.sources[index], splitter.max_fps, splitter.bounds) for part, index in files)
    # unordered: a film must not delay the files after it
    results = context.pool.map(
        scan_source, tasks, limit_s=lambda source, *_: context.limit_s(source), ordered=False
    )
    for number, result in results:
        part, index = files[number]
        part.take(index, result, bar)
    return len(parts) - len(todo)


class _Part:
    """Collects the scanned files of one part and writes its clips.

    Attributes:
        sources: of the part, those whose files are gone included.
        todo: indices of the sources to scan.
    """

    def __init__(
        self, context: RunContext, part: str, sources: Sequence[str], splitter: Splitter
    ) -> None:
        self.sources = sources
        self._context = context
        self._part = part
        self._splitter = splitter
        self._hashes: dict[int, str] = {}
        self._clips: dict[int, Rows] = {}
        self._quarantine: dict[int, Rows] = {}
        self._started: float | None = None
        self._scanned = 0
        self.todo = self._without_result()

    def _without_result(self) -> list[int]:
        """Indices of sources to scan; takes over the rows of the others."""
        dataset, removed = self._context.dataset, self._context.dataset.removed
        todo = set(unaccounted(dataset, self._part, self.sources)) - removed
        if not todo:
            return []
        failed, clips = self._rows("quarantine"), self._rows("clips")
        # what a file is a copy of may be decided anew
        todo |= {row["source"] for row in failed if row["kind"] == "duplicate"} - removed
        for index, source in enumerate(self.sources):
            if source not in todo:
                self._clips[index] = [row for row in clips if row["source"] == source]
                self._quarantine[index] = [row for row in failed if row["source"] == source]
                self._hashes[index] = "".join(r["content_hash"] for r in self._clips[index][:1])
        return [index for index, source in enumerate(self.sources) if source in todo]

    def _rows(self, table: str) -> Rows:
        dataset = self._context.dataset
        if not dataset.has_part(table, self._part):
            return []
        return dataset.read(table, parts=[self._part]).to_pylist()

    def take(self, index: int, result: "tuple[Scan, float] | Failure", bar: Bar) -> None:
        """Take the result of one scanned file; the last one writes the part."""
        self._started = self._started or time.monotonic()
        source = self.sources[index]
        if isinstance(result, Failure):
            self._clips[index] = []
            self._quarantine[index] = [
                quarantine_row(source, Failure("scan", result.kind, result.message))
            ]
            self._context.reporter.timings.count("scan", 0.0, failed=True)
        else:
            self._split(index, *result)
        bar.advance(note=PurePath(source).name)
        self._scanned += 1
        if self._scanned == len(self.todo):
            self._write()

    def _split(self, index: int, scanned: Scan, cpu_s: float) -> None:
        source, seconds = self.sources[index], scanned.info.duration_s
        timings = self._context.reporter.timings
        timings.count("scan", seconds, cpu_s=cpu_s)
        with timings.timed("shots"):
            transitions = self._splitter.detect(scanned.strip, self._splitter.settings)
            split = make_clips(scanned, source, transitions, self._splitter.rules)
        timings.count("shots", seconds)
        self._hashes[index] = scanned.info.content_hash
        self._clips[index] = split.rows
        self._quarantine[index] = [_row(source, "scan", *note) for note in scanned.notes]
        if split.short_s or not split.rows:
            few = f"{len(split.short_s)}, together {sum(split.short_s):.2f} s"
            why = f"shots under {self._splitter.rules.min_clip_s:g} s make no clip: {few}"
            kind = "short shots" if split.rows else "no clips"
            self._quarantine[index].append(_row(source, "split", kind, why))

    def _write(self) -> None:
        self._drop_duplicate_files()
        order = range(len(self.sources))
        clips = [row for index in order for row in self._clips[index]]
        quarantine = [row for index in order for row in self._quarantine[index]]
        align_evidence(self._context.dataset, self._part, [row["id"] for row in clips])
        self._context.dataset.write_part("quarantine", self._part, quarantine)
        self._context.dataset.write_part("clips", self._part, clips)
        self._context.reporter.record_quarantine(quarantine)
        seconds = time.monotonic() - (self._started or 0.0)
        counts = {"items": len(clips), "failures": len(quarantine)}
        self._context.reporter.unit_done("split", self._part, **counts, seconds=seconds)
        self._context.reporter.timings.save()

    def _drop_duplicate_files(self) -> None:
        """Keep only the first file, in the order of the part, of files with the same bytes."""
        first: dict[str, str] = {}
        for index, source in enumerate(self.sources):
            # a file without clips has a quarantine row of its own
            if not self._clips[index]:
                continue
            original = first.setdefault(self._hashes[index], source)
            if original != source:
                why = f"same content as {original}"
                self._clips[index] = []
                self._quarantine[index] = [_row(source, "scan", "duplicate", why)]


def _row(source: str, stage: str, kind: str, error: str) -> dict[str, Any]:
    return {"source": source, "clip_id": "", "stage": stage, "kind": kind, "error": error}
