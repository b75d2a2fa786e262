"""ENGINES: who runs a captioning job, by the name in a recipe. All write the same tables."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from wanctl.caption.job import CaptionJob, CaptionTotals, CaptionWorker, Parts
from wanctl.data.dataset import DatasetDir
from wanctl.log import progress_display

Engine = Callable[[CaptionWorker, DatasetDir, CaptionJob, Parts], CaptionTotals]


def run_local(
    worker: CaptionWorker, dataset: DatasetDir, job: CaptionJob, parts: Parts
) -> CaptionTotals:
    """Caption all parts in this process."""
    del dataset, job
    with progress_display() as display:
        return worker.run(parts, display)


def _run_ray(
    worker: CaptionWorker, dataset: DatasetDir, job: CaptionJob, parts: Parts
) -> CaptionTotals:
    from wanctl.distributed.ray_actors import PartListener, run_parts  # noqa: PLC0415  an extra

    del worker  # the actors load their own models
    totals = CaptionTotals()
    with progress_display() as display:
        bar = display.bar(len(parts), "parts on Ray")

        def done(name: str, result: CaptionTotals) -> None:
            totals.merge(result)
            bar.advance(note=name)

        make = partial(RayWorker, str(dataset.path.absolute()), job)
        run_parts(make, parts, job.ray, PartListener(done, lambda *_: None))
    return totals


class RayWorker:
    """Captions parts in an actor."""

    def __init__(self, path: str, job: CaptionJob) -> None:
        limits = replace(job.settings.limits, workers=job.ray.cpus)
        job = replace(job, settings=replace(job.settings, limits=limits))
        self._worker = CaptionWorker(DatasetDir.open(Path(path)), job)

    def work(self, part: str, first: Any) -> CaptionTotals:
        """Caption one part."""
        with progress_display() as display:
            return self._worker.run([(part, first)], display)


ENGINES: dict[str, Engine] = {"local": run_local, "ray": _run_ray}
