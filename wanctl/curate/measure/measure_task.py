"""One clip inside a worker process: decoded once, measured by all light units on the spot.

Frames of light units never leave the worker; those that heavy ones want are part of the result.
A unit that fails on a clip stops neither the other units nor the clip.
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wanctl.curate.api import Clip, Evidence, FilterUnavailableError, FrameBatch, FrameSpec
from wanctl.curate.registry import Unit
from wanctl.video.decode import read_clip
from wanctl.video.stream import VideoError
from wanctl.video.worker_pool import Failure


class MeasuredClip(NamedTuple):
    """What one look at a clip gave.

    Attributes:
        found: table -> row of evidence, or why there is none.
        frames: for the specs that were asked for; empty where decoding failed.
        failure: why decoding failed.
        cpu_s: stage -> seconds of this process; `decode` is one of them.
    """

    outcomes: dict[str, dict[str, Any] | Failure]
    frames: dict[FrameSpec, FrameBatch]
    failure: Failure | None
    cpu_s: dict[str, float]


def measure_task(
    clip: Clip, pts: tuple[int, int], light: Sequence[Unit], specs: Sequence[FrameSpec]
) -> MeasuredClip:
    """Decode a clip and measure it.

    Args:
        clip: the clip.
        pts: PTS of its first frame, and the exclusive end of its last one.
        light: units that are measured here.
        specs: frames to hand back.
    """
    units = [_cached_unit(unit) for unit in light]
    wanted = [spec for unit in units if (spec := unit.measurer.frames())]
    batches, failure, cpu_s = _decode(clip, pts, list(dict.fromkeys([*specs, *wanted])))
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
    """One clip's row of a unit's table, or why it could not be measured."""
    try:
        return evidence_row(unit, clip, unit.measurer.measure(clip, frames))
    except Exception as error:  # a plug-in: one clip that it cannot take stops nothing
        return unit_failure(unit, error)


def evidence_row(unit: Unit, clip: Clip, evidence: Evidence) -> dict[str, Any]:
    """Evidence with the clip's id, its columns checked against those that the unit declares.

    Raises:
        TypeError: there are other columns.
    """
    row = {"id": clip.id, **evidence}
    if set(row) != set(unit.schema.names):
        got, wanted = sorted(row), sorted(unit.schema.names)
        raise TypeError(f"measure gave the columns {got}, the filter declares {wanted}")
    if "vector" in row and unit.table.startswith("embeddings/"):
        row["vector"] = np.asarray(row["vector"], dtype=np.float16)
    return row


def unit_failure(unit: Unit, error: Exception) -> Failure:
    """The quarantine's form of what a unit raised."""
    text = " ".join(str(error).split())
    if isinstance(error, FilterUnavailableError):
        return Failure(unit.name, "unavailable", text)
    kind = "memory" if isinstance(error, MemoryError) else "error"
    return Failure(unit.name, kind, f"{type(error).__name__}: {text}")


def _read_only(batch: FrameBatch) -> FrameBatch:
    """The same frames, not to be written to: several units look at them."""
    frames = batch.frames.view()
    frames.flags.writeable = False
    return FrameBatch(frames, batch.times_s, batch.scale)


@lru_cache(maxsize=64)
def _cached_unit(unit: Unit) -> Unit:
    # every task brings its own copy; the first one stays, with what it has loaded
    return unit


def _decode(
    clip: Clip, pts: tuple[int, int], specs: Sequence[FrameSpec]
) -> tuple[Mapping[FrameSpec, FrameBatch], Failure | None, dict[str, float]]:
    if not specs:
        return {}, None, {}
    started = time.process_time()
    failure, batches = None, {}
    try:
        frames = read_clip(clip.source, *pts, specs, clip.width, clip.height)
        batches = dict(zip(specs, frames, strict=True))
    except VideoError as error:
        failure = Failure("decode", "error", " ".join(str(error).split()))
    return batches, failure, {"decode": time.process_time() - started}
