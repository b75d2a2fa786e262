"""`wanctl curate` and what re-decides, draws or exports its result."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from wanctl.curate import report as report_page
from wanctl.curate.engine import Site, Splitter, find_footage, measure, runnable, split_footage
from wanctl.curate.registry import NamedFilter, build_filters
from wanctl.curate.select import SelectRules, decide, measured
from wanctl.curate.shots import DetectorSettings, get_detector
from wanctl.curate.split import SplitRules
from wanctl.curate.thumbs import collect_sprites
from wanctl.curate.timing import Timings
from wanctl.data.atomic import write_bytes
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ExportFormat, export_clips
from wanctl.data.worker import DecodePool
from wanctl.errors import ProblemsError, UserError
from wanctl.log import console, log, progress
from wanctl.recipe import yaml
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.schema import SplitSection


def curate(loaded: LoadedRecipe, folder: Path, out: Path) -> None:
    """Split footage into clips, measure them, decide, and write the report.

    Stopped at any moment and started again, it goes on where it was and ends with the same
    tables.

    Args:
        loaded: the recipe.
        folder: raw footage; searched with its subfolders.
        out: the run folder; the data set goes to `out/dataset`.

    Raises:
        UserError: no footage, a filter that cannot run, a detector that is not installed, or a
            data set that was split by other rules.
    """
    started = time.monotonic()
    videos, others = find_footage(folder)
    path = _dataset_path(loaded, out)
    _check_split_unchanged(loaded, path)
    filters = runnable(_filters(loaded))
    splitter = _splitter(loaded)
    dataset = DatasetDir.create_or_open(path, recipe=loaded.dump())
    write_bytes(path / "recipe.yaml", loaded.dump().encode())
    parts = dataset.assign_sources(videos, loaded.recipe.curate.shard_sources)
    if others:
        log.info("%s: %d files that are no footage are passed over", folder, others)
    with _pool(loaded) as pool:
        site = Site(dataset, pool, Timings(path))
        reused = split_footage(site, parts, splitter)
        reused += measure(site, filters)
        if reused:
            log.info("%d finished units of work were there already", reused)
        selection = _select(loaded, dataset, filters)
        page = _report(dataset, selection, filters, pool)
    _summary(dataset, selection, filters)
    log.info("%.0f s; look at %s", time.monotonic() - started, page)


def select(loaded: LoadedRecipe, out: Path) -> None:
    """Decide again from the evidence, with the recipe's present thresholds; decodes nothing."""
    dataset = DatasetDir.open(_dataset_path(loaded, out), lock=True)
    filters = measured(dataset, _filters(loaded))
    selection = _select(loaded, dataset, filters)
    _summary(dataset, selection, filters)
    log.info("`wanctl data report` draws it")


def report(loaded: LoadedRecipe, out: Path) -> None:
    """Write report.html for the selection as it is."""
    dataset = DatasetDir.open(_dataset_path(loaded, out), lock=True)
    filters = measured(dataset, _filters(loaded))
    selection = _read_selection(loaded, dataset)
    with _pool(loaded) as pool:
        page = _report(dataset, selection, filters, pool)
    log.info("look at %s", page)


def export(loaded: LoadedRecipe, out: Path, to: Path) -> None:
    """Cut the kept clips out as mp4, at their own size and the training frame rate."""
    dataset = DatasetDir.open(_dataset_path(loaded, out))
    kept = sum(row["kept"] for row in _read_selection(loaded, dataset))
    form = ExportFormat(
        fps=loaded.recipe.train_dit.clip_fps, crf=loaded.recipe.sample.crf, whole_latents=True
    )
    with _pool(loaded) as pool, progress(kept, "export clips") as bar:
        name = loaded.recipe.dataset.selection
        files = export_clips(dataset, name, to, form=form, pool=pool, progress=bar)
    log.info("%d clips in %s, listed in clips.csv", len(files), to)


def _filters(loaded: LoadedRecipe) -> list[NamedFilter]:
    try:
        return build_filters(loaded.recipe.curate.filters)
    except ProblemsError as error:
        raise loaded.locate(error) from None


def _splitter(loaded: LoadedRecipe) -> Splitter:
    section = loaded.recipe.curate.split
    detect = get_detector(section.detector)
    return Splitter(
        detect=detect,
        settings=DetectorSettings(
            threshold=section.threshold,
            adaptive_threshold=section.adaptive_threshold,
            device=_detector_device(loaded.recipe.device, detect.__name__),
        ),
        rules=SplitRules(section.trim_frames, section.min_clip_s, section.max_clip_s),
        max_fps=section.max_fps,
    )


def _detector_device(device: str, detector: str) -> str:
    if detector != "transnetv2":
        return "cpu"
    from wanctl.device import pick_device  # noqa: PLC0415  (torch; other detectors do without)

    return str(pick_device(device))


def _dataset_path(loaded: LoadedRecipe, out: Path) -> Path:
    return loaded.recipe.dataset.path or out / "dataset"


def _pool(loaded: LoadedRecipe) -> DecodePool:
    section = loaded.recipe.curate.decode
    return DecodePool(section.workers, section.timeout_s, int(section.memory_gb * 2**30))


def _check_split_unchanged(loaded: LoadedRecipe, path: Path) -> None:
    """Clips that were cut by other rules cannot be mixed with new ones."""
    if not (path / "dataset.json").exists():
        return
    dataset = DatasetDir.open(path)
    before = (yaml.parse(dataset.recipe).data or {}).get("curate", {}).get("split")
    if not dataset.parts("clips") or before is None:
        return
    now = loaded.recipe.curate.split
    if SplitSection.model_validate(before) != now:
        changed = [key for key, value in now.model_dump().items() if before.get(key) != value]
        raise UserError(
            f"{path}: its clips were cut with another curate.split ({', '.join(changed)}); "
            "restore it, or curate into a new folder (--out)"
        )


def _select(
    loaded: LoadedRecipe, dataset: DatasetDir, filters: Sequence[NamedFilter]
) -> list[dict[str, Any]]:
    recipe = loaded.recipe
    section = recipe.curate.model_dump(mode="json", include={"filters", "max_crop_loss"})
    buckets = [bucket.model_dump() for bucket in recipe.train_dit.buckets]
    rules = SelectRules(
        max_crop_loss=recipe.curate.max_crop_loss,
        buckets=recipe.train_dit.buckets,
        clip_fps=recipe.train_dit.clip_fps,
        fingerprint=json.dumps([section, buckets, recipe.train_dit.clip_fps], sort_keys=True),
    )
    rows = decide(dataset, filters, rules)
    dataset.write_part(f"selections/{recipe.dataset.selection}", "", rows)
    return rows


def _read_selection(loaded: LoadedRecipe, dataset: DatasetDir) -> list[dict[str, Any]]:
    table = f"selections/{loaded.recipe.dataset.selection}"
    if not dataset.has_part(table, ""):
        raise UserError(f"{dataset.path}: no {table}; `wanctl data select` makes it")
    return dataset.read(table).to_pylist()


def _report(
    dataset: DatasetDir,
    selection: Sequence[dict[str, Any]],
    filters: Sequence[NamedFilter],
    pool: DecodePool,
) -> Path:
    sheets = report_page.pick_clips(selection, [named.name for named in filters])
    shown = {name for ids in sheets.values() for name in ids}
    clips = [clip for clip in dataset.read("clips").to_pylist() if clip["id"] in shown]
    sprites = collect_sprites(dataset.path, clips, pool)
    return report_page.write_report(dataset, selection, filters, sprites)


def _summary(
    dataset: DatasetDir, selection: Sequence[dict[str, Any]], filters: Sequence[NamedFilter]
) -> None:
    table = Table(title=str(dataset.path), title_justify="left")
    for column in ("filter", "left", "drops", "alone"):
        table.add_column(column, justify="left" if column == "filter" else "right")
    table.add_row("all clips", str(len(selection)), "", "")
    for row in report_page.funnel(selection, [*(named.name for named in filters), "crop"]):
        table.add_row(row.name, str(row.left), str(row.drops), str(row.alone))
    console.print(table)
    kinds = Counter(row["kind"] for row in dataset.read("quarantine").to_pylist())
    aside = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    kept = sum(row["kept"] for row in selection)
    log.info("%d of %d clips kept; quarantined: %s", kept, len(selection), aside)
