"""`wanctl curate` and `wanctl data select`: split, measure and decide.

The report and the data card are written afterwards by `wanctl.report.run`.
"""

import json
import logging
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.atomic import write_bytes
from wanctl.curate.context import Limits, Reporter
from wanctl.curate.dry_run import forecast, not_curated_yet, probe, speed_of_earlier_run, survey
from wanctl.curate.engines.engine import CurationJob, runnable
from wanctl.curate.engines.shard import unfinished
from wanctl.curate.engines.table import ENGINES
from wanctl.curate.registry import NamedFilter, build_filters, measured_units
from wanctl.curate.select.balance import Balance
from wanctl.curate.select.overrides import read_overrides
from wanctl.curate.select.select import SelectionResult, SelectRules, filters_with_evidence
from wanctl.curate.select.select import select as select_clips
from wanctl.curate.sources import assign_parts
from wanctl.curate.split.clip_rows import SplitRules
from wanctl.curate.split.shots import DetectorSettings, get_detector
from wanctl.curate.split.split_parts import Splitter
from wanctl.curate.timing import THROUGHPUT_COLUMNS, Timings, all_stages, throughput_rows
from wanctl.data.accounting import MACHINE_KINDS, forget_failures
from wanctl.data.dataset import DatasetDir
from wanctl.data.parts.shards import belongs, parse_shard
from wanctl.data.provenance import record_decision
from wanctl.data.table_order import record_tables
from wanctl.distributed.ray_actors import RayResources
from wanctl.errors import ProblemsError, UserError, unknown
from wanctl.listing import print_rows
from wanctl.lock import try_lock
from wanctl.log import EventLog, log, progress_display
from wanctl.recipe import yaml
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.schema import BalanceSection, SplitSection
from wanctl.redact import public_uri
from wanctl.video.footage import list_footage
from wanctl.video.probe import ScanBounds

SHOWN = 3
"""Filters that the message about an empty selection names."""


class NothingKeptError(UserError):
    """A selection keeps no clip."""


@dataclass(frozen=True)
class Curated:
    """A data set with the selection that this process has just made.

    Attributes:
        dataset: stays locked against other processes for as long as this object lives.
        selected: the result of the selection.
    """

    dataset: DatasetDir
    selected: SelectionResult


def curate(
    loaded: LoadedRecipe,
    folder: str | Path,
    out: Path,
    shard: str | None = None,
    retry: Sequence[str] = (),
) -> Curated | None:
    """Split footage into clips, measure them, and decide.

    Stopped at any time and started again, it continues where it stopped and ends with the same
    tables.

    Args:
        loaded: the recipe.
        folder: raw footage on a disk or behind a URL; searched with its subfolders.
        out: the run folder; the data set goes to `out/dataset`.
        shard: "i/n": only the parts whose number leaves i when divided by n. Whichever of the n
            processes finds all parts done decides.
        retry: kinds of failures in the quarantine that are tried again, besides those of the
            machine (MACHINE_KINDS), which always are.

    Returns:
        What was decided; None where another shard does that.

    Raises:
        UserError: no footage, a filter that cannot run, a detector that is not installed, a data
            set that was split by other rules, or a kind of failure that is not in the quarantine.
    """
    started = time.monotonic()
    share = None if shard is None else parse_shard(shard)
    listing = list_footage(folder)
    path = dataset_path(loaded, out)
    _check_split_unchanged(loaded, path)
    filters = runnable(recipe_filters(loaded))
    job = _job(loaded, filters)
    dataset = DatasetDir.create_or_open(path, recipe=loaded.dump(), share=share)
    write_bytes(path / "recipe.yaml", loaded.dump().encode())
    parts = assign_parts(dataset, folder, listing, loaded.recipe.curate.shard_sources)
    record_tables(dataset, [unit.table for unit in job.units])
    name = f"{share[0]}-of-{share[1]}" if share else ""
    with progress_display() as display:
        events = EventLog(out / (f"log-{name}.jsonl" if name else "log.jsonl"))
        reporter = Reporter(Timings(path, name), events, display)
        events.write(
            "start", footage=public_uri(str(folder)), files=len(listing.videos), parts=len(parts)
        )
        mine = [part for part in parts if share is None or belongs(part[0], share)]
        _retry(dataset, [*MACHINE_KINDS, *retry], [name for name, _ in mine])
        reused = ENGINES[loaded.recipe.curate.engine](dataset, job, mine, reporter)
        events.write("end", seconds=round(time.monotonic() - started, 3))
    if reused:
        log.info("%d units of work were finished already", reused)
    curated = None
    if share is None or _claim_decision(dataset, job):
        curated = Curated(dataset, _select(loaded, dataset, filters))
        if log.isEnabledFor(logging.INFO):
            rows = throughput_rows(all_stages(dataset.path))
            print_rows(THROUGHPUT_COLUMNS, rows, title="throughput", headers=True)
        _summary(dataset, curated.selected)
    log.info("curated in %.0f s", time.monotonic() - started)
    return curated


def dry_run(loaded: LoadedRecipe, folder: str | Path, out: Path) -> list[tuple[str, ...]]:
    """What `curate` will take: rows of `dry_run.COLUMNS`. Writes nothing.

    Raises:
        UserError: as `curate` does, before its work.
    """
    listing = list_footage(folder)
    path = dataset_path(loaded, out)
    _check_split_unchanged(loaded, path)
    job = _job(loaded, runnable(recipe_filters(loaded)))
    dataset = DatasetDir.open(path) if (path / "dataset.json").is_file() else None
    with job.limits.pool() as pool:
        surveyed = survey(not_curated_yet(listing, dataset), pool)
    speed = speed_of_earlier_run(path) or probe(surveyed, job)
    return [*forecast(listing, surveyed, speed, job, path)]


def select(loaded: LoadedRecipe, out: Path) -> Curated:
    """Select again from the evidence, with the recipe's current thresholds; decodes nothing."""
    dataset = DatasetDir.open(dataset_path(loaded, out), lock=True)
    filters = filters_with_evidence(dataset, recipe_filters(loaded))
    curated = Curated(dataset, _select(loaded, dataset, filters))
    _summary(dataset, curated.selected)
    return curated


def dataset_path(loaded: LoadedRecipe, out: Path) -> Path:
    """The data set directory of a recipe and a run folder."""
    return loaded.recipe.dataset.path or out / "dataset"


def recipe_filters(loaded: LoadedRecipe) -> list[NamedFilter]:
    """The filters of a recipe, in order.

    Raises:
        RecipeError: unknown filters or keys, with their lines.
    """
    try:
        return build_filters(loaded.recipe.curate.filters)
    except ProblemsError as error:
        raise loaded.locate(error) from None


def limits(loaded: LoadedRecipe) -> Limits:
    """Limits of one decoding or measuring task."""
    section = loaded.recipe.curate.decode
    return Limits(
        workers=section.workers,
        timeout_s=section.timeout_s,
        memory_bytes=int(section.memory_gb * 2**30),
        timeout_per_gb_s=section.timeout_per_gb_s,
        batch_clips=loaded.recipe.curate.batch_clips,
    )


def check_kept(curated: Curated) -> None:
    """Check that a selection keeps clips; commands call it last.

    Raises:
        NothingKeptError: it keeps none; says why.
    """
    selected, dataset = curated.selected, curated.dataset
    if selected.kept:
        return
    if again := _machine_failures(dataset):
        what = f"none of {selected.total:,} clips is kept" if selected.total else "no clips"
        raise NothingKeptError(f"{dataset.path}: {what}; {again}")
    if selected.total:
        most = sorted(selected.funnel, key=lambda row: -row.drops)[:SHOWN]
        drops = ", ".join(f"{row.name} drops {row.drops:,}" for row in most if row.drops)
        raise NothingKeptError(
            f"{dataset.path}: none of {selected.total:,} clips is kept ({drops}); loosen these "
            "filters in the recipe, then `wanctl data select` decides again"
        )
    rows = dataset.read("quarantine").to_pylist()
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(r["kind"] for r in rows).most_common())
    first = f"; the first: {rows[0]['source']}: {rows[0]['error']}" if rows else ""
    raise NothingKeptError(
        f"{dataset.path}: the footage gives no clips (quarantined: {kinds or 'none'}{first})"
    )


def _machine_failures(dataset: DatasetDir) -> str:
    """Failures for want of memory, time or a connection, and what to do; "" where none are."""
    kinds = Counter(dataset.read("quarantine", ["kind"])["kind"].to_pylist())
    failed = ", ".join(f"{kinds[kind]} {kind}" for kind in MACHINE_KINDS if kinds[kind])
    if not failed:
        return ""
    return (
        f"failures of the machine: {failed}; the same `wanctl curate` tries them again, if need be "
        "with more of curate.decode.memory_gb or timeout_s, or fewer workers"
    )


def _retry(dataset: DatasetDir, kinds: Sequence[str], parts: Sequence[str]) -> None:
    """Drop failures of some kinds, so that their files and clips are tried again.

    Raises:
        UserError: there never is such a kind.
    """
    known = {*MACHINE_KINDS, "error", *dataset.read("quarantine", ["kind"])["kind"].to_pylist()}
    for kind in kinds:
        if kind not in known:
            raise UserError(f"--retry: {unknown('kind of failure', kind, known)}")
    if count := forget_failures(dataset, kinds, parts):
        log.info("%d files and clips that failed are tried again", count)


def _job(loaded: LoadedRecipe, filters: Sequence[NamedFilter]) -> CurationJob:
    return CurationJob(
        splitter=_splitter(loaded),
        units=tuple(measured_units(filters)),
        limits=limits(loaded),
        ray=RayResources("curate", **loaded.recipe.curate.ray.model_dump()),
    )


def _claim_decision(dataset: DatasetDir, job: CurationJob) -> bool:
    """Whether this process, one of several, makes the selection.

    It does if all parts are done and no other process is selecting. It holds a lock for as long as
    `dataset` lives, so that it writes the report as well.
    """
    missing = unfinished(dataset, job.units)
    if missing:
        log.info(
            "this shard is done; %d parts of other shards are missing (the last shard selects, or "
            "`wanctl data select` and `wanctl data report`)",
            len(missing),
        )
        return False
    release = try_lock(dataset.path, "finish")
    if release is None:
        log.info("this shard is done; another one selects and writes the report")
        return False
    weakref.finalize(dataset, release)
    return True


def _splitter(loaded: LoadedRecipe) -> Splitter:
    section = loaded.recipe.curate.split
    detect = get_detector(section.detector)
    return Splitter(
        detect=detect,
        settings=DetectorSettings(
            threshold=section.threshold,
            adaptive_threshold=section.adaptive_threshold,
            device=loaded.recipe.device,
        ),
        rules=SplitRules(section.trim_frames, section.min_clip_s, section.max_clip_s),
        max_fps=section.max_fps,
        bounds=ScanBounds(section.max_damaged, section.max_unplaced),
    )


def _check_split_unchanged(loaded: LoadedRecipe, path: Path) -> None:
    """Refuse other split rules than those of the clips that exist."""
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
) -> SelectionResult:
    recipe = loaded.recipe
    section = recipe.curate.model_dump(mode="json", include={"filters", "max_crop_loss", "balance"})
    buckets = [bucket.model_dump() for bucket in recipe.train_dit.buckets]
    rules = SelectRules(
        max_crop_loss=recipe.curate.max_crop_loss,
        buckets=recipe.train_dit.buckets,
        clip_fps=recipe.train_dit.clip_fps,
        fingerprint=json.dumps([section, buckets, recipe.train_dit.clip_fps], sort_keys=True),
        overrides=read_overrides(dataset.path),
    )
    hashes = {named.name: named.filter.config_hash() for named in filters}
    balance = _balance(recipe.curate.balance, list(hashes))
    selected = select_clips(dataset, filters, rules, recipe.dataset.selection, balance)
    record_decision(dataset, recipe.dataset.selection, hashes)
    return selected


def _balance(section: BalanceSection | None, names: Sequence[str]) -> Balance | None:
    if section is None:
        return None
    if section.by not in names:
        log.warning("groups are not balanced: filter %s is skipped", section.by)
        return None
    return Balance(section.by, section.shares, section.power)


def _summary(dataset: DatasetDir, selected: SelectionResult) -> None:
    columns = ("filter", "left", "drops", "alone", "10 % stricter", "10 % laxer")
    rows: list[tuple[str, ...]] = [("all clips", f"{selected.total:,}", "", "", "", "")]
    for row in selected.funnel:
        moved = (row.at_strictest(), row.at_laxest()) if row.steps else ()
        counts = [f"{count:,}" for count in (row.left, row.drops, row.alone, *moved)]
        rows.append((row.name, *counts, *[""] * (len(columns) - 1 - len(counts))))
    if log.isEnabledFor(logging.INFO):
        print_rows(columns, rows, title="selection", headers=True)
    kinds = Counter(dataset.read("quarantine", ["kind"])["kind"].to_pylist())
    if selected.copies:
        log.info("%d clips are copies of others, or of files that are gone", selected.copies)
    quarantined = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    log.info("%d of %d clips kept; quarantined: %s", selected.kept, selected.total, quarantined)
    if again := _machine_failures(dataset):
        log.warning("%s", again)
