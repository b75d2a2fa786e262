"""The labelled sets that can be read, by the name that `--set NAME=FOLDER` takes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wanctl.bench.labelled import cameras, quality, shots
from wanctl.bench.result import Result
from wanctl.recipe.load import LoadedRecipe


class LabelledSet(NamedTuple):
    """What a set labels, and what measures a filter against it.

    Attributes:
        layout: the files that are read.
        run: (folder, output folder, recipe or None) -> result.
    """

    layout: str
    run: Callable[[Path, Path, LoadedRecipe | None], Result]


SETS: dict[str, LabelledSet] = {
    "bbc": LabelledSet("videos/bbc_NN.mp4, fixed/NN-scenes.txt", shots.run),
    "shot": LabelledSet("videos/ID.mp4, annotations/ID.txt", shots.run),
    "konvid": LabelledSet("KoNViD_1k_videos/, KoNViD_1k_attributes.csv", quality.run),
    "camerabench": LabelledSet("videos/, test.jsonl", cameras.run),
}
