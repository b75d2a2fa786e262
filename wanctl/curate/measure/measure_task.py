"""The task of a measuring worker: decodes one clip once and measures it with all light units.

Frames of light units never leave the worker; the frames of heavy units are part of the result. A
unit that fails on a clip affects neither the other units nor the clip.
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wanctl.curate.api import Clip, Evidence, FilterUnavailableError, FrameBatch, FrameSpec
from wanctl.curate.registry import Unit
from wanctl.errors import failure_kind
from wanctl.video.decode import read_clip
from wanctl.video.frames import Span
from wanctl.video.sources import SourceError, check_present
from wanctl.video.stream import VideoError
from wanctl.video.workers.worker_pool import Failure


class MeasuredClip(NamedTuple):
    """Result of `measure_task`.

    Attributes:
        outcomes: table -> row of evidence, or the failure.
        frames: spec -> frames for the requested specs; empty where decoding failed.
        failure: why decoding failed; None where it did not.
        cpu_s: stage -> CPU seconds of this process; `decode` is one of the stages.
    """

    outcomes: dict[str, dict[str, Any] | Failure]
    frames: dict[FrameSpec, FrameBatch]
    failure: Failure | None
    cpu_s: dict[str, float]


def measure_task(
    clip: Clip, span: Span, light: Sequence[Unit], specs: Sequence[FrameSpec]
) -> MeasuredClip:
    """Decode a clip and measure it.

    Args:
        clip: the clip.
        span: where its frames are in the file.
        light: units that are measured here.
        specs: frames to return.
    """
    units = [_cached_unit(unit) for unit in light]
    needed = [spec for unit in units if (spec := unit.measurer.frames())]
    batches, failure, cpu_s = _decode(clip, span, list(dict.fromkeys([*specs, *needed])))
    result = MeasuredClip({}, {spec: batches[spec] for spec in specs if batches}, failure, cpu_s)
    for unit in units:
        spec = unit.measurer.frames()
        started = time.process_time()
        if spec and failure:
            result.outcomes[unit.table] = failure
        else:
            frames = _read_only(batches[spec]) if spec else None
            result.outcomes[unit.table] = measure_clip(unit, clip, frames)
        cpu_s[unit.name] = cpu_s.get(unit.name, 0.0) + time.process_time() - started
    return result


def measure_clip(unit: Unit, clip: Clip, frames: FrameBatch | None) -> dict[str, Any] | Failure:
    """Measure one clip: its row of a unit's table, or the failure."""
    try:
        return evidence_row(unit, clip, unit.measurer.measure(clip, frames))
    except Exception as error:  # a plug-in may raise anything; the run goes on
        return unit_failure(unit, error)


def evidence_row(unit: Unit, clip: Clip, evidence: Evidence) -> dict[str, Any]:
    """Evidence with the clip's id; checks the columns against those that the unit declares.

    Raises:
        TypeError: the columns differ.
    """
    row = {"id": clip.id, **evidence}
    if set(row) != set(unit.schema.names):
        got, declared = sorted(row), sorted(unit.schema.names)
        raise TypeError(f"measure gave the columns {got}, the filter declares {declared}")
    if "vector" in row and unit.table.startswith("embeddings/"):
        row["vector"] = np.asarray(row["vector"], dtype=np.float16)
    return row


def unit_failure(unit: Unit, error: Exception) -> Failure:
    """An exception of a unit as a `Failure` for the quarantine."""
    text = " ".join(str(error).split())
    if isinstance(error, FilterUnavailableError):
        return Failure(unit.name, "unavailable", text)
    return Failure(unit.name, failure_kind(error), f"{type(error).__name__}: {text}")


def _read_only(batch: FrameBatch) -> FrameBatch:
    """A read-only view of the frames, because several units share them."""
    frames = batch.frames.view()
    frames.flags.writeable = False
    return FrameBatch(frames, batch.times_s, batch.scale)


@lru_cache(maxsize=64)
def _cached_unit(unit: Unit) -> Unit:
    # every task carries its own copy; the first one is kept, with the models that it has loaded
    return unit


def _decode(
    clip: Clip, span: Span, specs: Sequence[FrameSpec]
) -> tuple[Mapping[FrameSpec, FrameBatch], Failure | None, dict[str, float]]:
    if not specs:
        return {}, None, {}
    started = time.process_time()
    failure, batches = None, {}
    try:
        check_present(clip.source)
        frames = read_clip(clip.source, *span.pts, specs, clip.width, clip.height, span.frame_range)
        batches = dict(zip(specs, frames, strict=True))
    except (VideoError, SourceError) as error:
        failure = Failure("decode", failure_kind(error), " ".join(str(error).split()))
    return batches, failure, {"decode": time.process_time() - started}
