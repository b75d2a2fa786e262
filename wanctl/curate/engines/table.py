"""ENGINES: the engines that process the parts of a data set, by their names in a recipe."""

from collections.abc import Callable

from wanctl.curate.context import Reporter
from wanctl.curate.engines.engine import CurationJob, Parts, run_local
from wanctl.data.dataset import DatasetDir

Engine = Callable[[DatasetDir, CurationJob, Parts, Reporter], int]
"""Splits and measures parts; returns the number of units that an earlier run had finished."""


def _run_ray(dataset: DatasetDir, job: CurationJob, parts: Parts, reporter: Reporter) -> int:
    from wanctl.curate.engines.ray import run_on_ray  # noqa: PLC0415  an extra

    return run_on_ray(dataset, job, parts, reporter)


ENGINES: dict[str, Engine] = {"local": run_local, "ray": _run_ray}
