"""A picture or video that shows all outputs of one run, each with what sets it apart."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wanctl.sample.grid import Tile, make_grid
from wanctl.sample.job import SampleJob
from wanctl.sample.params import KEY_DIGITS


def grid_of(jobs: Sequence[SampleJob], columns: int | None, repeat: int) -> Path:
    """All outputs of a run side by side, beside them.

    Args:
        jobs: one or more, made.
        columns: of tiles; None: a row per prompt where there are repeats, else about square.
        repeat: how often each prompt was made.
    """
    names = "\n".join(job.path.name for job in jobs) + f"\n{columns}"
    name = f"grid-{hashlib.sha256(names.encode()).hexdigest()[:KEY_DIGITS]}"
    tiles = [Tile(job.path, label) for job, label in zip(jobs, _labels(jobs), strict=True)]
    return make_grid(
        tiles,
        jobs[0].path.with_name(name),
        columns=columns or (repeat if repeat > 1 else None),
        fps=jobs[0].params.fps,
        crf=jobs[0].params.crf,
        metadata={"tiles": "\n".join(job.path.name for job in jobs)},
    )


def _labels(jobs: Sequence[SampleJob]) -> list[str]:
    """What tells each output from the others: the settings that differ, and the prompt."""
    said = [asdict(job.params) for job in jobs]
    differ = [key for key in said[0] if any(each[key] != said[0][key] for each in said)]
    keys = [key for key in differ if key not in ("inputs", "vace")] or ["seed"]
    return [
        ", ".join(f"{key} {_short(each[key])}" for key in keys) + f": {job.prompt}"
        for job, each in zip(jobs, said, strict=True)
    ]


def _short(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
