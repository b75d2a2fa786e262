"""Works through parts of a data set in this process and its workers; see engines.py for others."""

from collections.abc import Sequence
from dataclasses import dataclass

from wanctl.curate.api import FilterUnavailableError
from wanctl.curate.context import Limits, Reporter, RunContext
from wanctl.curate.measure.measuring import as_clip, measure_parts
from wanctl.curate.registry import NamedFilter, Unit
from wanctl.curate.split.scanning import Splitter, split_parts
from wanctl.data.dataset import DatasetDir
from wanctl.log import log

__all__ = ["CurationJob", "Parts", "as_clip", "runnable", "work"]

Parts = Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class RayResources:
    """What `ray` is asked for.

    Attributes:
        address: of the cluster; None starts one on this machine, for this run.
        cpus: cores of one actor, whose decode workers are this many.
        gpus: share of a GPU of one actor.
        actors: how many; None: as many as the cluster has room for.
        retries: how often a part is begun again after its actor was lost.
    """

    address: str | None = None
    cpus: int = 2
    gpus: float = 0.0
    actors: int | None = None
    retries: int = 3


@dataclass(frozen=True)
class CurationJob:
    """Everything that decides what comes out, and what it may cost. Can be pickled.

    Attributes:
        splitter: from footage to clips.
        units: what is measured.
        limits: of one process.
        ray: for the engine of that name.
    """

    splitter: Splitter
    units: tuple[Unit, ...]
    limits: Limits
    ray: RayResources = RayResources()


def runnable(filters: Sequence[NamedFilter]) -> list[NamedFilter]:
    """Filters that can run here; an optional one that cannot is left out with a warning.

    Raises:
        FilterUnavailableError: one that is not optional cannot run.
    """
    ready = []
    for named in filters:
        try:
            named.filter.check()
            if embedder := named.filter.embedder():
                embedder.check()
        except FilterUnavailableError as error:
            if not named.filter.optional:
                raise FilterUnavailableError(
                    f"curate.filters.{named.name}: {error}; or say `optional: true`"
                ) from None
            log.warning("filter %s is left out: %s", named.name, error)
        else:
            ready.append(named)
    return ready


def work(dataset: DatasetDir, job: CurationJob, parts: Parts, reporter: Reporter) -> int:
    """Split and measure parts in this process and its workers.

    Returns:
        The number of units of work that an earlier run had finished.
    """
    with job.limits.pool() as pool:
        context = RunContext(dataset, pool, job.limits, reporter)
        reused = split_parts(context, parts, job.splitter)
        return reused + measure_parts(context, [part for part, _ in parts], job.units)
