"""Runs cases through curation as any footage goes: files, decoder, filter, selection."""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from wanctl.atomic import write_bytes
from wanctl.bench.cases import Case, Family, Found, Outcome
from wanctl.curate.api import Filter
from wanctl.curate.columns import ClipBatch
from wanctl.curate.registry import build_filters
from wanctl.curate.run import curate
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_columns, table_schema
from wanctl.log import console, log, progress
from wanctl.recipe.load import LoadedRecipe, load_recipe
from wanctl.video.frames import Box

WRITERS = 2


def write_cases(cases: Sequence[Case], folder: Path, name: str) -> None:
    """Write the files that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [case for case in cases if not (folder / f"{case.name}.mp4").exists()]
    with progress(len(missing), f"{name}: write clips") as bar, ThreadPoolExecutor(WRITERS) as pool:
        for case, _ in zip(
            missing,
            pool.map(lambda case: case.save(folder / f"{case.name}.mp4"), missing),
            strict=True,
        ):
            bar.advance(note=case.name)


def judge(
    family: Family,
    cases: Sequence[Case],
    folder: Path,
    out: Path,
    recipe: LoadedRecipe | None,
) -> list[Outcome]:
    """Curate the cases with the family's filter alone, and read what came of each.

    Args:
        family: whose cases they are.
        cases: all written to `folder`.
        folder: the files.
        out: the run folder of `wanctl curate`.
        recipe: thresholds come from it; None: the filter's defaults.
    """
    section = {"split": dict(family.split), "filters": {family.filter: settings(family, recipe)}}
    dataset, loaded = curated(section, folder, out)
    found = _found(dataset, family, loaded)
    return [Outcome(case, tuple(found.get(case.name, ()))) for case in cases]


def curated(section: Mapping[str, Any], folder: Path, out: Path) -> tuple[DatasetDir, LoadedRecipe]:
    """Run `wanctl curate` on a folder, or go on with it, with these keys under `curate`."""
    text = yaml.safe_dump({"curate": {"max_crop_loss": 0.99, **section}}, sort_keys=False)
    path = out / "bench.yaml"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        shutil.rmtree(out)
    write_bytes(path, text.encode())
    loaded = load_recipe(str(path))
    with _quietly():
        curate(loaded, folder, out)
    return DatasetDir.open(out / "dataset"), loaded


def scores_of(dataset: DatasetDir, name: str) -> dict[str, float]:
    """File stem -> score of a filter, of the file's first clip; those without one are left out."""
    return {stem: row for stem, row in _first(dataset, "scores", name, "score") if row is not None}


def labels_of(dataset: DatasetDir, name: str) -> dict[str, str | None]:
    """File stem -> label of a filter, of the file's first clip."""
    return dict(_first(dataset, "labels", name, "label"))


def _first(dataset: DatasetDir, column: str, name: str, key: str) -> Iterator[tuple[str, Any]]:
    verdicts = {row["id"]: row for row in dataset.read("selections/default").to_pylist()}
    seen: set[str] = set()
    for clip in sorted(dataset.read("clips").to_pylist(), key=lambda row: row["start_pts"]):
        if clip["source"] not in seen:
            seen.add(clip["source"])
            yield Path(clip["source"]).stem, _named(verdicts[clip["id"]][column], name, key)


def settings(family: Family, recipe: LoadedRecipe | None) -> dict[str, Any]:
    """Keys of the family's filter that are not its defaults."""
    filters = recipe.recipe.curate.filters if recipe else {}
    return dict(filters.get(family.filter) or {})


def _found(dataset: DatasetDir, family: Family, loaded: LoadedRecipe) -> dict[str, list[Found]]:
    """Case name -> its clips in order of time."""
    (named,) = build_filters(loaded.recipe.curate.filters)
    name = named.name
    clips = dataset.read("clips").to_pylist()
    rows = dataset.read(named.table).to_pylist() if named.filter.evidence else []
    evidence = {row["id"]: row for row in rows}
    if family.more is not None:
        measured = [clip for clip in clips if clip["id"] in evidence]
        batch = _batch(named.filter, measured, [evidence[clip["id"]] for clip in measured])
        for clip, more in zip(measured, family.more(named.filter, batch), strict=True):
            evidence[clip["id"]] |= more
    verdicts = {row["id"]: row for row in dataset.read("selections/default").to_pylist()}
    found: dict[str, list[Found]] = defaultdict(list)
    for clip in sorted(clips, key=lambda row: row["start_pts"]):
        row = verdicts[clip["id"]]
        found[Path(clip["source"]).stem].append(
            Found(
                kept=row["kept"],
                reasons=tuple(row["reasons"]),
                score=_named(row["scores"], name, "score"),
                crop=Box(*(row[f"crop_{side}"] for side in "xywh")),
                whole=(clip["width"], clip["height"]),
                label=_named(row["labels"], name, "label"),
                evidence=evidence.get(clip["id"], {}),
            )
        )
    return found


def _batch(
    measurer: Filter, clips: Sequence[Mapping[str, Any]], evidence: Sequence[Mapping[str, Any]]
) -> ClipBatch:
    """What the filter decided from: all clips, whole pictures."""
    views = [(0, 0, clip["width"], clip["height"]) for clip in clips]
    columns = evidence_columns(measurer.evidence)
    rows = [{name: row[name] for name in columns.names} for row in evidence]
    return ClipBatch(
        clips=pa.Table.from_pylist(list(clips), schema=table_schema("clips")),
        evidence=pa.Table.from_pylist(rows, schema=columns),
        views=np.array(views, dtype=np.int32).reshape(-1, 4),
    )


def _named(entries: Sequence[Mapping[str, Any]] | None, name: str, key: str) -> Any:
    return next((each[key] for each in entries or () if each["filter"] == name), None)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the tables that curation prints off the screen; warnings stay."""
    level, quiet = log.level, console.quiet
    log.setLevel(max(level, 30))
    console.quiet = True
    try:
        yield
    finally:
        log.setLevel(level)
        console.quiet = quiet


def fingerprint(*parts: Any) -> str:
    """Ten hex digits of whatever results depend on."""
    text = json.dumps([str(part) for part in parts], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def source_of(*folders: Path) -> str:
    """The code of folders, for fingerprints: what was measured by other code is measured again."""
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
