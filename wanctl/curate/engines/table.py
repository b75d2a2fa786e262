"""The ways to work through the parts of a data set, by their names in a recipe.

Whichever runs, the tables come out the same: all of them call `engine.work`, and parts hang neither
on each other nor on their order. `--shard i/n` shares the parts among processes of any engine.
Nothing heavy is imported here; recipes are checked against this table.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wanctl.curate.context import Watch
    from wanctl.curate.engines.local import Job, Parts
    from wanctl.data.dataset import DatasetDir

Engine = Callable[["DatasetDir", "Job", "Parts", "Watch"], int]


def _local(dataset: "DatasetDir", job: "Job", parts: "Parts", watch: "Watch") -> int:
    from wanctl.curate.engines.local import work  # noqa: PLC0415  decoders, which recipes do without

    return work(dataset, job, parts, watch)


def _ray(dataset: "DatasetDir", job: "Job", parts: "Parts", watch: "Watch") -> int:
    from wanctl.curate.engines.ray import work_on_ray  # noqa: PLC0415  an extra

    return work_on_ray(dataset, job, parts, watch)


ENGINES: dict[str, Engine] = {"local": _local, "ray": _ray}
