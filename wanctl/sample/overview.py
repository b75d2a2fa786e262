"""A grid of all outputs of one run, each labelled with the settings that differ."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from wanctl.sample.grid import Tile, make_grid
from wanctl.sample.request import KEY_DIGITS, SampleRequest


def make_overview(
    requests: Sequence[SampleRequest], paths: Sequence[Path], columns: int | None, repeat: int
) -> Path:
    """Write all outputs of a run side by side into one file next to them.

    Args:
        requests: one or more.
        paths: their files, which exist.
        columns: tiles per row; None: a row per prompt where there are repeats, else about square.
        repeat: seeds per prompt.

    Returns:
        The file.
    """
    names = "\n".join(path.name for path in paths)
    digest = hashlib.sha256(f"{names}\n{columns}".encode()).hexdigest()[:KEY_DIGITS]
    tiles = [Tile(path, label) for path, label in zip(paths, _labels(requests), strict=True)]
    return make_grid(
        tiles,
        paths[0].with_name(f"grid-{digest}"),
        columns=columns or (repeat if repeat > 1 else None),
        fps=requests[0].fps,
        crf=requests[0].crf,
        metadata={"tiles": names},
    )


def _labels(requests: Sequence[SampleRequest]) -> list[str]:
    """Label of each output: the settings in which the outputs differ, and the prompt."""
    settings = [request.settings() for request in requests]
    first = settings[0]
    differing = [key for key in first if any(each[key] != first[key] for each in settings)]
    keys = [key for key in differing if key not in ("inputs", "vace")] or ["seed"]
    return [
        ", ".join(f"{key} {_short(each[key])}" for key in keys) + f": {request.prompt}"
        for request, each in zip(requests, settings, strict=True)
    ]


def _short(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
