"""Counts what a run folder holds: parts, clips, captions, steps, samples. Reads only."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import current_tables
from wanctl.errors import UserError
from wanctl.lock import running_process

DESCRIPTION = "dataset.json"
TRAINED = ("vae", "dit")
MAX_DEPTH = 4
# below these nothing is looked for: they hold a run's own files
_INSIDE = frozenset(
    ("dataset", "vae", "dit", "samples", "prompts", "checkpoints", "evidence", "captions", "clips",
     "embeddings", "latents", "conditions", "training", "text", "selections", "quarantine",
     "grounds")
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """How far the training of one network is.

    Attributes:
        step: steps that are done; 0 before the first.
        steps: steps of its recipe; 0 where it is unknown.
        written: whether the trained weights are there.
        times_seen: how often each clip was seen, on average; None before the end.
    """

    step: int
    steps: int
    written: bool
    times_seen: float | None = None


@dataclass
class DatasetProgress:
    """How far a data set is.

    Attributes:
        problem: why it cannot be read; "" where it can.
        sources: files of footage.
        parts: parts of the footage.
        split: parts whose clips are there.
        measured: parts of all tables of measurements together.
        to_measure: how many there will be.
        clips: number of clips.
        kept: clips that the selection keeps; None where nothing is selected yet.
        captioned: kept clips with a caption.
        quarantined: rows of the quarantine.
        recipe: the resolved recipe as text.
    """

    problem: str = ""
    sources: int = 0
    parts: int = 0
    split: int = 0
    measured: int = 0
    to_measure: int = 0
    clips: int = 0
    kept: int | None = None
    captioned: int = 0
    quarantined: int = 0
    recipe: str = ""


@dataclass(frozen=True)
class RunProgress:
    """What a folder holds.

    Attributes:
        path: the run folder, or the data set directory where it stands alone.
        data: its data set; None where it has none.
        training: `vae` and `dit` -> how far it is.
        samples: number of videos and images in `samples/`.
        process: id of the process that works there; "" for none.
        footage: folder of footage as the last `curate` was given it; "" where it is unknown.
    """

    path: Path
    data: DatasetProgress | None
    training: dict[str, Training] = field(default_factory=dict)
    samples: int = 0
    process: str = ""
    footage: str = ""


def find_runs(folder: Path) -> Iterator[Path]:
    """Run folders and data sets at and below a folder, sorted; MAX_DEPTH levels are searched."""
    yield from _find(folder, 0)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / DESCRIPTION).is_file() or _is_run(folder):
        yield folder
    if depth >= MAX_DEPTH:
        return
    try:
        # entries know whether they are folders: a folder may hold millions of files
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        if name not in _INSIDE and not name.startswith("."):
            yield from _find(folder / name, depth + 1)


def _is_run(folder: Path) -> bool:
    if (folder / "dataset" / DESCRIPTION).is_file():
        return True
    if any((folder / name / "recipe.yaml").is_file() for name in TRAINED):
        return True
    return any((folder / "samples").glob("*.*"))


def read_progress(path: Path) -> RunProgress:
    """Count what one folder of `find_runs` holds."""
    data = path if (path / DESCRIPTION).is_file() else path / "dataset"
    places = (data, *(path / name for name in TRAINED))
    return RunProgress(
        path=path,
        data=_read_dataset(data) if (data / DESCRIPTION).is_file() else None,
        training={name: each for name in TRAINED if (each := _read_training(path / name))},
        samples=sum(
            each.suffix in (".mp4", ".png") and not each.name.startswith(("grid-", "."))
            for each in (path / "samples").glob("*.*")
        ),
        process=next((owner for place in places if (owner := running_process(place))), ""),
        footage=_footage(path / "log.jsonl"),
    )


def _read_dataset(path: Path) -> DatasetProgress:
    try:
        dataset = DatasetDir.open(path)
        return _count(dataset)
    except (UserError, OSError, ValueError, KeyError) as error:
        return DatasetProgress(problem=str(error).partition("\n")[0] or type(error).__name__)


def _count(dataset: DatasetDir) -> DatasetProgress:
    parts = dataset.parts("clips")
    kinds = ("evidence", "embeddings")
    measurements = [table for kind in kinds for table in current_tables(dataset, kind)]
    selections = dataset.tables("selections")
    kept: set[str] | None = None
    if selections:
        rows = dataset.read(selections[-1], ["id", "kept"])
        kept = set(rows.filter(rows["kept"])["id"].to_pylist())
    captioned = {
        clip
        for table in dataset.tables("captions")
        for clip in dataset.read(table, ["id"])["id"].to_pylist()
    }
    return DatasetProgress(
        sources=len(dataset.sources),
        parts=len(dataset.source_parts()) or len(parts),
        split=len(parts),
        measured=sum(len(dataset.parts(table)) for table in measurements),
        to_measure=len(parts) * len(measurements),
        clips=sum(dataset.count("clips", part) for part in parts),
        kept=None if kept is None else len(kept),
        captioned=len(captioned & (kept or set())),
        quarantined=dataset.read("quarantine", ["kind"]).num_rows,
        recipe=dataset.recipe,
    )


def _read_training(folder: Path) -> Training | None:
    if not folder.is_dir():
        return None
    numbers = [each.name.removeprefix("step-") for each in (folder / "checkpoints").glob("step-*")]
    step = max((int(number) for number in numbers if number.isdigit()), default=0)
    logged = _last_json(folder / "metrics.jsonl").get("step")
    if isinstance(logged, int):
        step = max(step, logged)
    return Training(step, 0, any(folder.glob("*.safetensors")), _times_seen(folder / "data.json"))


def _times_seen(path: Path) -> float | None:
    seen = _json("".join(_lines(path))).get("times_seen")
    mean = seen.get("mean") if isinstance(seen, dict) else None
    return mean if isinstance(mean, int | float) else None


def _footage(path: Path) -> str:
    footage = ""
    for line in _lines(path):
        if '"start"' in line and isinstance(name := _json(line).get("footage"), str):
            footage = name
    return footage


def _last_json(path: Path) -> dict[str, object]:
    last = ""
    for line in _lines(path):
        last = line
    return _json(last)


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file


def _json(line: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
