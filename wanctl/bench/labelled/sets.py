"""The labelled sets that can be read, by the name that `--set NAME=FOLDER` takes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wanctl.bench.labelled import camerabench, konvid, shot_boundaries
from wanctl.bench.labelled.clips import evaluate
from wanctl.bench.result import Result
from wanctl.bench.settings import BenchSettings


class LabelledSet(NamedTuple):
    """What a set labels, and what measures a filter against it.

    Attributes:
        layout: the files that are read.
        run: (folder, output folder, settings) -> a result for each kind of label.
    """

    layout: str
    run: Callable[[Path, Path, BenchSettings], list[Result]]


SETS: dict[str, LabelledSet] = {
    "bbc": LabelledSet("videos/bbc_NN.mp4, fixed/NN-scenes.txt", shot_boundaries.run),
    "shot": LabelledSet("videos/ID.mp4, annotations/ID.txt", shot_boundaries.run),
    "konvid": LabelledSet("KoNViD_1k_videos/, KoNViD_1k_attributes.csv", konvid.run),
    "clips": LabelledSet("labels.csv and the videos that it names", evaluate.run),
    "camerabench": LabelledSet("videos/, test.jsonl", camerabench.run),
}
