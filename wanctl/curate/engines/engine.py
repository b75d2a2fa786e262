"""What engines work on, and `run_local`, the engine of one machine.

Every engine writes the same tables: each of them calls `run_local`, and parts depend neither on
each other nor on their order. `--shard i/n` divides the parts among processes of any engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wanctl.curate.api import FilterUnavailableError
from wanctl.curate.context import Limits, Reporter, RunContext
from wanctl.curate.measure.measure_parts import measure_parts
from wanctl.curate.registry import NamedFilter, Unit
from wanctl.curate.split.split_parts import Splitter, split_parts
from wanctl.data.dataset import DatasetDir
from wanctl.distributed.ray_actors import RayResources
from wanctl.log import log

Parts = Sequence[tuple[str, Sequence[str]]]
"""(part, its sources) each."""


@dataclass(frozen=True)
class CurationJob:
    """Everything that determines the tables, and what making them may cost. Can be pickled.

    Attributes:
        splitter: makes clips of footage.
        units: what is measured.
        limits: of one process.
        ray: resources for the engine of that name.
    """

    splitter: Splitter
    units: tuple[Unit, ...]
    limits: Limits
    ray: RayResources


def runnable(filters: Sequence[NamedFilter]) -> list[NamedFilter]:
    """Filters that can run here; an optional one that cannot is skipped with a warning.

    Raises:
        FilterUnavailableError: a filter that is not optional cannot run.
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
            log.warning("filter %s is skipped: %s", named.name, error)
        else:
            ready.append(named)
    return ready


def run_local(dataset: DatasetDir, job: CurationJob, parts: Parts, reporter: Reporter) -> int:
    """Split and measure parts in this process and its workers.

    Returns:
        The number of units of work that an earlier run had finished.
    """
    with job.limits.pool() as pool:
        context = RunContext(dataset, pool, job.limits, reporter)
        reused = split_parts(context, parts, job.splitter)
        return reused + measure_parts(context, [part for part, _ in parts], job.units)
