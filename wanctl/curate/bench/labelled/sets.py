"""The labelled sets that can be read, by the name that `--set NAME=FOLDER` takes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wanctl.curate.bench.result import Result
from wanctl.recipe.load import LoadedRecipe


class LabelledSet(NamedTuple):
    """What a set labels, and what measures a filter against it.

    Attributes:
        layout: the files that are read.
        run: (folder, output folder, recipe or None) -> result.
    """

    layout: str
    run: Callable[[Path, Path, LoadedRecipe | None], Result]


SETS: dict[str, LabelledSet] = {}
