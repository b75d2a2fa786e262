"""Curates cases as any footage: files, decoder, filter, selection."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wanctl.atomic import make_folder
from wanctl.bench.cases import Case, CaseResult, ClipResult, Family
from wanctl.bench.settings import BenchSettings, CuratedFolder
from wanctl.curate.api import Filter
from wanctl.curate.columns import ClipBatch
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_columns, table_schema
from wanctl.log import progress
from wanctl.video.frames import SPAN, Box

WRITERS = 2


def write_cases(cases: Sequence[Case], folder: Path, name: str) -> None:
    """Write the files that are not there yet."""
    make_folder(folder)
    missing = [case for case in cases if not (folder / f"{case.name}.mp4").exists()]
    with progress(len(missing), f"{name}: write clips") as bar, ThreadPoolExecutor(WRITERS) as pool:
        for case, _ in zip(
            missing,
            pool.map(lambda case: case.save(folder / f"{case.name}.mp4"), missing),
            strict=True,
        ):
            bar.advance(note=case.name)


def run_cases(
    family: Family, cases: Sequence[Case], folder: Path, out: Path, settings: BenchSettings
) -> list[CaseResult]:
    """Curate the cases with the family's filter alone, and read the result of each.

    Args:
        family: whose cases they are.
        cases: all written to `folder`.
        folder: the files.
        out: the run folder of `wanctl curate`.
        settings: the filter's keys, and how a folder is curated.
    """
    section = {
        "split": dict(family.split),
        "filters": {family.filter: settings.keys_of(family.filter)},
    }
    clips = _clips_by_case(settings.curate(section, folder, out), family)
    return [CaseResult(case, tuple(clips.get(case.name, ()))) for case in cases]


def scores_by_stem(dataset: DatasetDir, name: str) -> dict[str, float]:
    """File stem -> score of a filter, of the file's first clip; those without one are left out."""
    return {stem: row for stem, row in _first(dataset, "scores", name, "score") if row is not None}


def labels_by_stem(dataset: DatasetDir, name: str) -> dict[str, str | None]:
    """File stem -> label of a filter, of the file's first clip."""
    return dict(_first(dataset, "labels", name, "label"))


def _first(dataset: DatasetDir, column: str, name: str, key: str) -> Iterator[tuple[str, Any]]:
    verdicts = {row["id"]: row for row in dataset.read("selections/default").to_pylist()}
    seen: set[str] = set()
    for clip in sorted(dataset.read("clips").to_pylist(), key=lambda row: row["start_pts"]):
        if clip["source"] not in seen:
            seen.add(clip["source"])
            yield Path(clip["source"]).stem, _value_of(verdicts[clip["id"]][column], name, key)


def _clips_by_case(curated: CuratedFolder, family: Family) -> dict[str, list[ClipResult]]:
    """Case name -> its clips in order of time."""
    dataset, (named,) = curated.dataset, curated.filters
    name = named.name
    clips = dataset.read("clips").to_pylist()
    rows = dataset.read(named.table).to_pylist() if named.filter.evidence else []
    evidence = {row["id"]: row for row in rows}
    if family.extra_evidence is not None:
        measured = [clip for clip in clips if clip["id"] in evidence]
        batch = _batch(named.filter, measured, [evidence[clip["id"]] for clip in measured])
        for clip, extra in zip(measured, family.extra_evidence(named.filter, batch), strict=True):
            evidence[clip["id"]] |= extra
    verdicts = {row["id"]: row for row in dataset.read("selections/default").to_pylist()}
    results: dict[str, list[ClipResult]] = defaultdict(list)
    for clip in sorted(clips, key=lambda row: row["start_pts"]):
        row = verdicts[clip["id"]]
        results[Path(clip["source"]).stem].append(
            ClipResult(
                kept=row["kept"],
                reasons=tuple(row["reasons"]),
                score=_value_of(row["scores"], name, "score"),
                crop=Box(*(row[f"crop_{side}"] for side in "xywh")),
                frame_size=(clip["width"], clip["height"]),
                label=_value_of(row["labels"], name, "label"),
                evidence=evidence.get(clip["id"], {}),
                trimmed=row[SPAN[0]] is not None,
            )
        )
    return results


def _batch(
    measurer: Filter, clips: Sequence[Mapping[str, Any]], evidence: Sequence[Mapping[str, Any]]
) -> ClipBatch:
    """The columns that the filter decided from: all clips, uncropped frames."""
    views = [(0, 0, clip["width"], clip["height"]) for clip in clips]
    columns = evidence_columns(measurer.evidence)
    rows = [{name: row[name] for name in columns.names} for row in evidence]
    return ClipBatch(
        clips=pa.Table.from_pylist(list(clips), schema=table_schema("clips")),
        evidence=pa.Table.from_pylist(rows, schema=columns),
        views=np.array(views, dtype=np.int32).reshape(-1, 4),
    )


def _value_of(entries: Sequence[Mapping[str, Any]] | None, name: str, key: str) -> Any:
    return next((each[key] for each in entries or () if each["filter"] == name), None)


def fingerprint(*parts: Any) -> str:
    """Ten hex digits of everything that results depend on."""
    text = json.dumps([str(part) for part in parts], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def hash_sources(*folders: Path) -> str:
    """SHA-256 of all Python files in folders, for fingerprints: other code measures again."""
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
