"""Measures clips: decodes every clip once for all units that have not measured it.

A unit of work is one part of one unit's table; it is done when its part file exists. Failures are
rows of the quarantine, written before the part they belong to, so that a run that is killed at
any time and started again ends with the same tables.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from wanctl.curate.api import Clip, Evidence, FilterUnavailableError, FrameBatch, FrameSpec
from wanctl.curate.columns import CLIP_COLUMNS
from wanctl.curate.context import RunContext
from wanctl.curate.measure.measure_task import (
    MeasuredClip,
    evidence_row,
    measure_clip,
    measure_task,
    unit_failure,
)
from wanctl.curate.registry import Unit
from wanctl.data.accounting import failures_part, merge_rows, quarantine_row
from wanctl.data.dataset import DatasetDir
from wanctl.log import Bar, log
from wanctl.video.frames import Span, range_of
from wanctl.video.workers.worker_pool import Failure

# Limit of the frames that wait for a network; large frames reach it before `batch_clips`.
BATCH_BYTES = 256 * 2**20

Frames = Mapping[FrameSpec, FrameBatch]
Outcome = dict[str, Any] | Failure


def measure_parts(context: RunContext, parts: Sequence[str], units: Sequence[Unit]) -> int:
    """Write every unit's table for every part in which a clip has no result.

    Only these clips are decoded; rows of earlier runs stay. The workers process the clips of all
    parts in one stream; a part is written after its last clip.

    Returns:
        The number of (part, unit) pairs that existed already.

    Raises:
        FilterUnavailableError: a filter fails only while measuring because it cannot run here.
    """
    todo = {part: _missing(context.dataset, part, units) for part in parts}
    todo = {part: missing for part, missing in todo.items() if missing}
    counts = [len(set().union(*missing.values())) for missing in todo.values()]
    bar = context.reporter.progress_display.bar(sum(counts), "measure clips")
    waiting: deque[_Part] = deque()

    def tasks() -> Iterator[tuple[Any, ...]]:
        for part, missing in todo.items():
            current = _Part(context, part, missing)
            waiting.append(current)
            for row in current.rows:
                yield current.task(row)

    # no retry: after a crash `_isolate_failure` runs the units one by one
    for _, result in context.pool.map(
        measure_task, tasks(), limit_s=_limit_of(context), retry=False
    ):
        _write_finished(waiting)
        waiting[0].take(result, bar)
        _write_finished(waiting)
    _write_finished(waiting)
    return len(parts) * len(units) - sum(len(missing) for missing in todo.values())


def _missing(dataset: DatasetDir, part: str, units: Sequence[Unit]) -> dict[Unit, set[str]]:
    """Unit -> clips of a part that it has to measure; a unit that has no table is among them."""
    missing = {unit: dataset.unmeasured(part, unit.table) for unit in units}
    return {
        unit: ids for unit, ids in missing.items() if ids or not dataset.has_part(unit.table, part)
    }


def as_clip(row: Mapping[str, Any]) -> Clip:
    """A row of the clips table as the `Clip` that filters get."""
    return Clip(**{name: row[name] for name in CLIP_COLUMNS})


def _limit_of(context: RunContext) -> Callable[..., float]:
    return lambda clip, *_: context.limit_s(clip.source)


def _write_finished(waiting: "deque[_Part]") -> None:
    while waiting and waiting[0].complete:
        waiting.popleft().write()


class _Part:
    """Measures the clips of one part and writes the tables of the units that lack it."""

    def __init__(
        self,
        context: RunContext,
        part: str,
        missing: Mapping[Unit, set[str]],
    ) -> None:
        self._context = context
        self._part = part
        self._missing = missing
        units = list(missing)
        clips = context.dataset.read("clips", parts=[part]).to_pylist()
        self._ids = [row["id"] for row in clips]
        needed = set().union(*missing.values())
        self.rows = [row for row in clips if row["id"] in needed]
        self._units = units
        self._light = [unit for unit in units if not unit.measurer.heavy]
        self._heavy = [unit for unit in units if unit.measurer.heavy]
        self._rows_by_unit: dict[Unit, list[dict[str, Any]]] = {unit: [] for unit in units}
        self._quarantine: dict[Unit, list[dict[str, Any]]] = {unit: [] for unit in units}
        self._batch: list[tuple[Clip, Frames]] = []
        self._taken = 0
        self._started = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether the workers have processed every clip."""
        return self._taken == len(self.rows)

    def task(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments of `measure_task` for one clip."""
        span = Span((row["start_pts"], row["end_pts"]), range_of(row))
        specs = (unit.measurer.frames() for unit in self._heavy if row["id"] in self._missing[unit])
        heavy = list(dict.fromkeys(spec for spec in specs if spec is not None))
        light = [unit for unit in self._light if row["id"] in self._missing[unit]]
        return as_clip(row), span, light, heavy

    def take(self, result: MeasuredClip | Failure, bar: Bar) -> None:
        """Take the workers' result for the next clip, in order."""
        row = self.rows[self._taken]
        clip = as_clip(row)
        if isinstance(result, Failure):
            result = self._isolate_failure(row, result)
        self._count_workers(clip, result)
        for unit in self._light:
            if clip.id in self._missing[unit]:
                self._put(unit, clip, result.outcomes[unit.table])
        if self._heavy:
            self._queue(clip, result)
        self._taken += 1
        if self.complete:
            self._measure_batch()
        bar.advance(note=PurePath(clip.source).name)

    def write(self) -> None:
        """Write the rows and failures to disk, unit by unit."""
        seconds = time.monotonic() - self._started
        for unit in self._units:
            rows, failed = self._rows_by_unit[unit], self._quarantine[unit]
            failures = failures_part(self._part, unit.table)
            if failed:
                self._merge("quarantine", failures, failed, "clip_id")
                self._context.reporter.record_quarantine(failed)
            self._merge(unit.table, self._part, rows, "id", unit.schema)
            counts = {"items": len(rows), "failures": len(failed)}
            self._context.reporter.unit_done(unit.name, self._part, **counts, seconds=seconds)
        self._context.reporter.timings.save()

    def _merge(
        self,
        table: str,
        part: str,
        rows: Sequence[Mapping[str, Any]],
        column: str,
        schema: pa.Schema | None = None,
    ) -> None:
        """Write rows of this run together with those of earlier runs."""
        dataset = self._context.dataset
        if dataset.has_part(table, part):
            old = dataset.read(table, parts=[part])
            new = pa.Table.from_pylist([dict(row) for row in rows], schema=old.schema)
            dataset.write_part(
                table, part, merge_rows(old, new, self._ids, column), schema=old.schema
            )
        else:
            dataset.write_part(table, part, rows, schema=schema)

    def _isolate_failure(self, row: Mapping[str, Any], failure: Failure) -> MeasuredClip:
        """Find out what ended the worker: decoding, or which of the units."""
        clip, span, light, specs = self.task(row)
        log.debug("%s, clip %s: %s; running the units one by one", clip.source, clip.id, failure)
        needed = [spec for unit in light if (spec := unit.measurer.frames()) is not None]
        (decoded,) = self._run_tasks([(clip, span, [], list(dict.fromkeys([*specs, *needed])))])
        if isinstance(decoded, Failure):
            decoded = MeasuredClip({}, {}, decoded, {})
        remaining = [unit for unit in light if not (decoded.failure and unit.measurer.frames())]
        outcomes: dict[str, Outcome] = {
            unit.table: decoded.failure for unit in light if decoded.failure
        }
        results = self._run_tasks([(clip, span, [unit], []) for unit in remaining])
        for unit, result in zip(remaining, results, strict=True):
            failed = isinstance(result, Failure)
            outcomes[unit.table] = result if failed else result.outcomes[unit.table]
        frames = {spec: decoded.frames[spec] for spec in specs if decoded.frames}
        return MeasuredClip(outcomes, frames, decoded.failure, decoded.cpu_s)

    def _run_tasks(self, tasks: Sequence[tuple[Any, ...]]) -> list[MeasuredClip | Failure]:
        limit = _limit_of(self._context)
        results = self._context.pool.map(measure_task, tasks, limit_s=limit, retry=False)
        return [result for _, result in results]

    def _count_workers(self, clip: Clip, result: MeasuredClip) -> None:
        timings = self._context.reporter.timings
        for stage, seconds in result.cpu_s.items():
            unit = next((u for u in self._light if u.name == stage), None)
            outcome = result.failure if unit is None else result.outcomes.get(unit.table)
            failed = isinstance(outcome, Failure)
            timings.count(stage, clip.duration_s, cpu_s=seconds, failed=failed)

    def _queue(self, clip: Clip, result: MeasuredClip) -> None:
        if result.failure:
            for unit in self._heavy:
                if unit.measurer.frames() and clip.id in self._missing[unit]:
                    self._put(unit, clip, result.failure)
        self._batch.append((clip, result.frames))
        waiting_bytes = sum(b.frames.nbytes for _, frames in self._batch for b in frames.values())
        if len(self._batch) >= self._context.limits.batch_clips or waiting_bytes >= BATCH_BYTES:
            self._measure_batch()

    def _measure_batch(self) -> None:
        batch, self._batch = self._batch, []
        for unit in self._heavy:
            spec = unit.measurer.frames()
            mine = [each for each in batch if each[0].id in self._missing[unit]]
            usable = [(clip, frames) for clip, frames in mine if spec is None or spec in frames]
            if not usable:
                continue
            clips = [clip for clip, _ in usable]
            frames = [each[spec] if spec else None for _, each in usable]
            with self._context.reporter.timings.timed(unit.name):
                outcomes = _measure_together(unit, clips, frames)
            for clip, outcome in zip(clips, outcomes, strict=True):
                failed = isinstance(outcome, Failure)
                self._context.reporter.timings.count(unit.name, clip.duration_s, failed=failed)
                self._put(unit, clip, outcome)

    def _put(self, unit: Unit, clip: Clip, outcome: Outcome) -> None:
        outcome = _checked_row(unit, outcome)
        if not isinstance(outcome, Failure):
            self._rows_by_unit[unit].append(outcome)
        elif outcome.kind == "unavailable":
            raise FilterUnavailableError(outcome.message)
        else:
            # decoding serves several units; each has a row of its own in the quarantine
            failure = Failure(unit.name, outcome.kind, outcome.message)
            self._quarantine[unit].append(quarantine_row(clip.source, failure, clip.id))


def _checked_row(unit: Unit, outcome: Outcome) -> Outcome:
    """The row if its values fit the unit's columns, else a failure of this row alone."""
    if isinstance(outcome, Failure):
        return outcome
    try:
        pa.Table.from_pylist([outcome], schema=unit.schema)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        return unit_failure(unit, error)
    return outcome


def _measure_together(
    unit: Unit, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
) -> list[Outcome]:
    """Measure several clips at once; on an error one by one, so that only the faulty clip fails."""
    try:
        rows: list[Evidence] = unit.measurer.measure_many(clips, frames)
        return [evidence_row(unit, clip, row) for clip, row in zip(clips, rows, strict=True)]
    except Exception as error:  # a plug-in may raise anything; memory may not suffice for all clips
        log.debug("%s on %d clips in one batch", unit.name, len(clips), exc_info=True)
        if len(clips) == 1:
            return [unit_failure(unit, error)]
    return [measure_clip(unit, clip, batch) for clip, batch in zip(clips, frames, strict=True)]
