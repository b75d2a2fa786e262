"""Curation on a Ray cluster: actors that each process one part at a time.

An actor runs the local engine with the cores and the share of a GPU that Ray assigns to it; its
models are loaded once. `wanctl/distributed/ray_actors.py` assigns the parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wanctl.curate.context import Reporter
from wanctl.curate.engines.engine import CurationJob, Parts, run_local
from wanctl.curate.timing import StageCost, Timings
from wanctl.data.dataset import DatasetDir
from wanctl.distributed.ray_actors import EventBuffer, PartListener, run_parts
from wanctl.log import progress_display


class PartResult(NamedTuple):
    """An actor's result for a part: number of existing units, costs per stage, and events."""

    reused: int
    stages: Mapping[str, StageCost]
    events: Sequence[Mapping[str, Any]]


def run_on_ray(dataset: DatasetDir, job: CurationJob, parts: Parts, reporter: Reporter) -> int:
    """Split and measure parts on a cluster, as `engine.run_local` does on one machine.

    Returns:
        The number of units of work that an earlier run had finished.

    Raises:
        RayError: ray is missing, there is no cluster at the address, or a part lost its actor more
            often than `job.ray.retries`.
    """
    reused = 0
    bar = reporter.progress_display.bar(len(parts), "parts on Ray")

    def done(name: str, result: PartResult) -> None:
        nonlocal reused
        reused += result.reused
        reporter.timings.add(result.stages)
        reporter.timings.save()
        for event in result.events:
            reporter.events.write(**event)
        bar.advance(note=name)

    def lost(name: str, error: str) -> None:
        reporter.events.write("lost", part=name, error=error)

    make = partial(CurationWorker, str(dataset.path.absolute()), job)
    run_parts(make, parts, job.ray, PartListener(done, lost))
    return reused


class CurationWorker:
    """Curates parts in an actor."""

    def __init__(self, path: str, job: CurationJob) -> None:
        self._dataset = DatasetDir.open(Path(path))
        self._job = replace(job, limits=replace(job.limits, workers=job.ray.cpus))

    def work(self, part: str, sources: Sequence[str]) -> PartResult:
        """Process one part, from footage to evidence."""
        events = EventBuffer()
        timings = Timings(None)
        with progress_display() as display:
            reporter = Reporter(timings, events, display)
            reused = run_local(self._dataset, self._job, [(part, sources)], reporter)
        return PartResult(reused, timings.stages, events.events)
