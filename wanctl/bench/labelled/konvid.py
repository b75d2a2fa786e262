"""KoNViD-1k: mean opinion scores of 1,200 videos, against the scores of filters.

Layout, as published:

    KoNViD_1k_videos/ID.mp4
    KoNViD_1k_metadata/KoNViD_1k_attributes.csv    columns flickr_id, file_name, MOS, ...
    KoNViD_1k_metadata/KoNViD_1k_mos.csv           columns flickr_id, mos

Either table will do, also in the folder of the videos. A video is named by `file_name` or by
ID.mp4; an older archive's `ID_original_...mp4` is read as well.
"""

import csv
from pathlib import Path

from wanctl.bench.cases import Evaluation, Metric
from wanctl.bench.curation import scores_by_stem
from wanctl.bench.metrics import plcc, srcc
from wanctl.bench.result import Result, summarise_labelled_set
from wanctl.bench.settings import BenchSettings, FilterKeys
from wanctl.curate.registry import filter_class, filter_names
from wanctl.errors import UserError

TABLES = ("KoNViD_1k_attributes.csv", "KoNViD_1k_mos.csv")
FILTERS = ("quality", "blur", "aesthetic", "exposure", "container")


def run(folder: Path, out: Path, settings: BenchSettings) -> list[Result]:
    """Rank and linear correlation of each filter's score with the mean opinion."""
    opinions = read(folder)
    filters = _filters(settings.filters)
    section = {
        "split": {"detector": "none", "min_clip_s": 0, "trim_frames": 0},
        "filters": {name: {**keys, "optional": True} for name, keys in filters.items()},
    }
    dataset = settings.curate(section, _videos(folder), out).dataset
    metrics = []
    for name in filters:
        scores = scores_by_stem(dataset, name)
        both = sorted(opinions.keys() & scores.keys())
        if len(both) < 3:
            continue
        people, measured = [opinions[key] for key in both], [scores[key] for key in both]
        metrics.append(Metric(f"{name}, SRCC", srcc(people, measured)))
        metrics.append(Metric(f"{name}, PLCC", plcc(people, measured)))
    summary = f"{len(opinions)} videos with mean opinions; a score that is better low is negative"
    result = summarise_labelled_set(
        folder.name, ", ".join(filters), summary, Evaluation([], metrics)
    )
    return [result]


def read(folder: Path) -> dict[str, float]:
    """File stem -> mean opinion score.

    Raises:
        UserError: no table, no column of opinions, or no video that it names.
    """
    table = next((p for name in TABLES for p in sorted(folder.rglob(name))), None)
    if table is None:
        raise UserError(f"{folder}: expected {' or '.join(TABLES)}, there or in a subfolder")
    stems = {path.stem for path in _videos(folder).glob("*.mp4")}
    opinions = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cells = {key.strip().lower(): value.strip() for key, value in row.items() if key}
            if "mos" not in cells or not {"flickr_id", "file_name"} & cells.keys():
                raise UserError(
                    f"{table}: columns are {', '.join(row)}; mos and flickr_id or file_name wanted"
                )
            stem = _stem(cells, stems)
            if stem is not None:
                opinions[stem] = float(cells["mos"])
    if not opinions:
        raise UserError(f"{table}: names none of the {len(stems)} videos in {_videos(folder)}")
    return opinions


def _stem(row: dict[str, str], stems: set[str]) -> str | None:
    """The video that a row of the table means."""
    identity = row.get("flickr_id", "")
    for name in (Path(row.get("file_name", "")).stem, identity):
        if name in stems:
            return name
    longer = (stem for stem in sorted(stems) if identity and stem.startswith(f"{identity}_"))
    return next(longer, None)


def _videos(folder: Path) -> Path:
    inside = folder / "KoNViD_1k_videos"
    return inside if inside.is_dir() else folder


def _filters(recipe_filters: FilterKeys) -> dict[str, dict[str, object]]:
    """Filters whose score measures quality -> the recipe's keys, or none for the defaults."""
    names = [name for name in FILTERS if name in filter_names()]
    return {
        name: dict(recipe_filters.get(name) or {})
        for name in names
        if name in recipe_filters or not _needs_keys(name)
    }


def _needs_keys(name: str) -> bool:
    return any(info.is_required() for info in filter_class(name).model_fields.values())
