"""Curation on a Ray cluster: actors that each process one part at a time.

An actor runs the local engine with the cores and the share of a GPU that Ray assigns to it; its
models are loaded once. An actor that is lost (its node failed, or it was killed for memory) is
replaced and its part is repeated: finished tables of the part are kept. The data set directory
must be on storage that all nodes share.
"""

import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from wanctl.credentials import Credential, restore, snapshot
from wanctl.curate.context import Reporter
from wanctl.curate.engines.engine import CurationJob, Parts, RayResources, run_local
from wanctl.curate.timing import StageCost, Timings
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.log import EventLog, log, progress_display, timestamp

# On a busy machine a new cluster does not always start within Ray's 30 s.
START_ATTEMPTS = 3


class RayError(UserError):
    """Ray is not installed, cannot be reached, or loses its actors repeatedly."""


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
    ray = _connect(job.ray)
    try:
        return _Driver(ray, dataset, job, parts, reporter).run()
    finally:
        ray.shutdown()


class Worker:
    """The class of an actor, written as a plain class; `_Driver` makes it remote."""

    def __init__(self, path: str, job: CurationJob, credentials: Mapping[str, Credential]) -> None:
        restore(credentials)
        self._dataset = DatasetDir.open(Path(path))
        self._job = replace(job, limits=replace(job.limits, workers=job.ray.cpus))

    def work(self, part: str, sources: Sequence[str]) -> PartResult:
        """Process one part, from footage to evidence."""
        events = _EventBuffer()
        timings = Timings(None)
        with progress_display() as display:
            reporter = Reporter(timings, events, display)
            reused = run_local(self._dataset, self._job, [(part, sources)], reporter)
        return PartResult(reused, timings.stages, events.events)


class _EventBuffer(EventLog):
    """Buffers events for the driver, which writes them to its file."""

    def __init__(self) -> None:
        super().__init__(None)
        self.events: list[dict[str, Any]] = []

    def write(self, event: str, **fields: Any) -> None:
        """Buffer one event."""
        self.events.append({"event": event, "time": timestamp(), **fields})


class _Driver:
    """Assigns parts to actors until none is left."""

    def __init__(
        self, ray: Any, dataset: DatasetDir, job: CurationJob, parts: Parts, reporter: Reporter
    ) -> None:
        self._ray = ray
        self._path = str(dataset.path.absolute())
        self._job = ray.put(job)
        self._resources = job.ray
        self._todo = deque(parts)
        self._reporter = reporter
        self._losses: Counter[str] = Counter()
        remote = ray.remote(num_cpus=job.ray.cpus, num_gpus=job.ray.gpus, max_restarts=0)
        self._worker = remote(Worker)

    def run(self) -> int:
        """Process all parts; returns the number of units that existed already."""
        reused = 0
        bar = self._reporter.progress_display.bar(len(self._todo), "parts on Ray")
        idle = [self._actor() for _ in range(self._num_actors())]
        running: dict[Any, tuple[Any, tuple[str, Sequence[str]]]] = {}
        while self._todo or running:
            while idle and self._todo:
                actor, part = idle.pop(), self._todo.popleft()
                running[actor.work.remote(*part)] = actor, part
            (ref,), _ = self._ray.wait(list(running), num_returns=1)
            actor, part = running.pop(ref)
            result = self._result(ref, part)
            idle.append(actor if result else self._actor())
            if result:
                reused += result.reused
                self._record(result)
                bar.advance(note=part[0])
        return reused

    def _num_actors(self) -> int:
        """Number of actors: as requested, or as many as fit; at most one per part."""
        num_fitting = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                have = node["Resources"]
                fits = [have.get("CPU", 0) / self._resources.cpus]
                if self._resources.gpus:
                    fits.append(have.get("GPU", 0) / self._resources.gpus)
                num_fitting += int(min(fits))
        if not num_fitting:
            raise RayError(
                f"curate.ray: no node has {self._resources.cpus} cores and "
                f"{self._resources.gpus:g} GPUs for an actor; request less"
            )
        return min(self._resources.actors or num_fitting, len(self._todo))

    def _actor(self) -> Any:
        return self._worker.remote(self._path, self._job, snapshot())

    def _result(self, ref: Any, part: tuple[str, Sequence[str]]) -> PartResult | None:
        """Result of a part; None where its actor was lost and the part is queued again."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except (errors.RayActorError, errors.ActorUnavailableError) as error:
            name = part[0]
            self._losses[name] += 1
            self._reporter.events.write("lost", part=name, error=" ".join(str(error).split())[:200])
            if self._losses[name] > self._resources.retries:
                raise RayError(
                    f"{name}: lost its Ray actor {self._losses[name]} times, allowed "
                    f"{self._resources.retries} (curate.ray.retries); see Ray's logs; the "
                    "usual reason is too little memory"
                ) from None
            log.warning("%s lost its Ray actor and is repeated", name)
            self._todo.appendleft(part)
            return None

    def _record(self, result: PartResult) -> None:
        self._reporter.timings.add(result.stages)
        self._reporter.timings.save()
        for event in result.events:
            self._reporter.events.write(**event)


def _connect(resources: RayResources) -> Any:
    """Connect to the cluster, or start one on this machine; returns the module `ray`."""
    # by default Ray sends usage statistics
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415  an extra
        import ray.exceptions  # noqa: PLC0415
    except ImportError:
        raise RayError(
            "curate.engine: ray is not installed; `pip install 'wanctl[ray]'`, or use `local`"
        ) from None
    for tries_left in reversed(range(START_ATTEMPTS)):
        try:
            _start(ray, resources)
        except Exception as error:  # Ray raises plain Exception where it does not start in time
            ray.shutdown()
            if resources.address or not tries_left:
                why = " ".join(str(error).split())
                where = resources.address or "this machine"
                raise RayError(f"curate.ray.address: {where}: {why}") from None
            log.warning("Ray did not start in time; retrying")
        else:
            break
    return ray


def _start(ray: Any, resources: RayResources) -> None:
    if resources.address:
        ray.init(address=resources.address, log_to_driver=False)
        return
    paths = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    ray.init(
        num_cpus=max(os.cpu_count() or 1, resources.cpus),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
