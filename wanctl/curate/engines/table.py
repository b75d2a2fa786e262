"""The ways to work through the parts of a data set, by their names in a recipe.

Whichever runs, the tables come out the same: all of them call `engine.work`, and parts hang neither
on each other nor on their order. `--shard i/n` shares the parts among processes of any engine.
Nothing heavy is imported here; recipes are checked against this table.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wanctl.curate.context import Reporter
    from wanctl.curate.engines.local import CurationJob, Parts
    from wanctl.data.dataset import DatasetDir

Engine = Callable[["DatasetDir", "CurationJob", "Parts", "Reporter"], int]


def _local(dataset: "DatasetDir", job: "CurationJob", parts: "Parts", reporter: "Reporter") -> int:
    from wanctl.curate.engines.local import work  # noqa: PLC0415  decoders, which recipes do without

    return work(dataset, job, parts, reporter)


def _ray(dataset: "DatasetDir", job: "CurationJob", parts: "Parts", reporter: "Reporter") -> int:
    from wanctl.curate.engines.ray import run_on_ray  # noqa: PLC0415  an extra

    return run_on_ray(dataset, job, parts, reporter)


ENGINES: dict[str, Engine] = {"local": _local, "ray": _ray}
