"""Parts of a data set processed by actors on a Ray cluster, each one part at a time.

An actor that is lost (its node failed, or it was killed for memory) is replaced and its part is
repeated; what of it was finished is the worker's to keep. The data set directory must be on
storage that all nodes share.
"""

import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.credentials import Credential, restore, snapshot
from wanctl.errors import UserError
from wanctl.log import EventLog, log, timestamp

# On a busy machine a new cluster does not always start within Ray's 30 s.
START_ATTEMPTS = 3

Part = tuple[Any, ...]
"""The arguments of a worker's `work`, of which the first is the part's name."""


class RayError(UserError):
    """Ray is not installed, cannot be reached, or loses its actors repeatedly."""


@dataclass(frozen=True)
class RayResources:
    """Resources that the engine `ray` requests.

    Attributes:
        section: of the recipe, for messages: `curate` or `caption`.
        address: of the cluster; None starts one on this machine for this run.
        cpus: cores of one actor, which runs as many decoding processes.
        gpus: share of a GPU of one actor.
        actors: number of actors; None: as many as the cluster has resources for.
        retries: how often a part is repeated after its actor was lost.
    """

    section: str
    address: str | None
    cpus: int
    gpus: float
    actors: int | None
    retries: int


@dataclass(frozen=True)
class PartListener:
    """What the driver calls.

    Attributes:
        done: with a part's name and its result.
        lost: with a part's name and one line on why its actor was lost.
    """

    done: Callable[[str, Any], None]
    lost: Callable[[str, str], None]


def run_parts(
    make_worker: Callable[[], Any],
    parts: Sequence[Part],
    resources: RayResources,
    listener: PartListener,
) -> None:
    """Process parts on a cluster.

    Args:
        make_worker: called once in every actor; pickled. What it returns has a method `work` and
            keeps its models between parts.
        parts: arguments of `work`.
        resources: of the actors.
        listener: is called in this process as parts end.

    Raises:
        RayError: ray is missing, there is no cluster at the address, or a part lost its actor more
            often than `resources.retries`.
        UserError: a worker raised it.
    """
    ray = _connect(resources)
    try:
        _Driver(ray, make_worker, parts, resources, listener).run()
    finally:
        ray.shutdown()


class EventBuffer(EventLog):
    """Buffers a worker's events for the driver, which writes them to its file."""

    def __init__(self) -> None:
        super().__init__(None)
        self.events: list[dict[str, Any]] = []

    def write(self, event: str, **fields: Any) -> None:
        """Buffer one event."""
        self.events.append({"event": event, "time": timestamp(), **fields})


class Worker:
    """The class of an actor, written as a plain class; `_Driver` makes it remote."""

    def __init__(
        self, make_worker: Callable[[], Any], credentials: Mapping[str, Credential]
    ) -> None:
        restore(credentials)
        self._worker = make_worker()

    def work(self, *part: Any) -> Any:
        """Process one part."""
        return self._worker.work(*part)


class _Driver:
    """Assigns parts to actors until none is left."""

    def __init__(
        self,
        ray: Any,
        make_worker: Callable[[], Any],
        parts: Sequence[Part],
        resources: RayResources,
        listener: PartListener,
    ) -> None:
        self._ray = ray
        self._make_worker = ray.put(make_worker)
        self._resources = resources
        self._todo = deque(parts)
        self._listener = listener
        self._losses: Counter[str] = Counter()
        remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_restarts=0)
        self._worker = remote(Worker)

    def run(self) -> None:
        """Process all parts."""
        idle = [self._actor() for _ in range(self._num_actors())]
        running: dict[Any, tuple[Any, Part]] = {}
        while self._todo or running:
            while idle and self._todo:
                actor, part = idle.pop(), self._todo.popleft()
                running[actor.work.remote(*part)] = actor, part
            (ref,), _ = self._ray.wait(list(running), num_returns=1)
            actor, part = running.pop(ref)
            idle.append(actor if self._take(ref, part) else self._actor())

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
                f"{self._resources.section}.ray: no node has {self._resources.cpus} cores and "
                f"{self._resources.gpus:g} GPUs for an actor; request less"
            )
        return min(self._resources.actors or num_fitting, len(self._todo))

    def _actor(self) -> Any:
        return self._worker.remote(self._make_worker, snapshot())

    def _take(self, ref: Any, part: Part) -> bool:
        """Pass on a part's result; False where its actor was lost and the part is queued again."""
        errors = self._ray.exceptions
        name = part[0]
        try:
            result = self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except (errors.RayActorError, errors.ActorUnavailableError) as error:
            self._losses[name] += 1
            self._listener.lost(name, " ".join(str(error).split())[:200])
            if self._losses[name] > self._resources.retries:
                raise RayError(
                    f"{name}: lost its Ray actor {self._losses[name]} times, allowed "
                    f"{self._resources.retries} ({self._resources.section}.ray.retries); see Ray's "
                    "logs; the usual reason is too little memory"
                ) from None
            log.warning("%s lost its Ray actor and is repeated", name)
            self._todo.appendleft(part)
            return False
        self._listener.done(name, result)
        return True


def _connect(resources: RayResources) -> Any:
    """Connect to the cluster, or start one on this machine; returns the module `ray`."""
    # by default Ray sends usage statistics
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415  an extra
        import ray.exceptions  # noqa: PLC0415
    except ImportError:
        raise RayError(
            f"{resources.section}.engine: ray is not installed; `pip install 'wanctl[ray]'`, or "
            "use `local`"
        ) from None
    for tries_left in reversed(range(START_ATTEMPTS)):
        try:
            _start(ray, resources)
        except Exception as error:  # Ray raises plain Exception where it does not start in time
            ray.shutdown()
            if resources.address or not tries_left:
                why = " ".join(str(error).split())
                where = resources.address or "this machine"
                raise RayError(f"{resources.section}.ray.address: {where}: {why}") from None
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
