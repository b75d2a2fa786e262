"""`wanctl data export` and `wanctl data check`."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from wanctl.atomic import remove_leftovers, write_bytes
from wanctl.data.buckets import bucket_name
from wanctl.data.captions import ClipCaption, read_captions
from wanctl.data.card import Card, write_card
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import (
    ClipPlan,
    ExportFormat,
    crop_of,
    cut_clips,
    kept_clips,
    plan_clip,
)
from wanctl.escaping import csv_cell
from wanctl.exchange.check import (
    CheckReport,
    CheckRow,
    TrainingShapes,
    check_dataset,
    check_external,
)
from wanctl.exchange.layouts import LAYOUTS, Layout
from wanctl.exchange.manifest import ExportManifest
from wanctl.exchange.readers import read_layout
from wanctl.exchange.sample import ExportSample, ExportTarget
from wanctl.exchange.shards import WORK, write_shards
from wanctl.exchange.target import UnusableError, check_target
from wanctl.listing import print_json, print_rows
from wanctl.lock import locked
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.report.run import data_card
from wanctl.textfiles import printable
from wanctl.video.workers.worker_pool import DecodePool

CARD_FILES = ("README.md", "datacard.json")
ROWS_SHOWN = 100


def export(loaded: LoadedRecipe, out: Path, to: Path, layout: str | None = None) -> None:
    """Cut out the kept clips and write them in the layout that another program reads.

    Files that exist already are kept, and files of clips that an earlier export wrote and the
    selection no longer keeps are deleted.

    Args:
        loaded: the recipe; `export`, `dataset`, `caption.backends` and `train_dit` are used.
        out: the run folder.
        to: receives the files.
        layout: a row of LAYOUTS; default: the recipe's.

    Raises:
        DatasetError: no data set or no such selection.
        ExportError: the folder holds an `export.json` that no export wrote.
        UnusableError: the selection keeps no clip, none of them can be read, or the folder is the
            data set or the footage.
        LockedError: another process exports there.
        WriteError: the folder cannot be written.
    """
    recipe = loaded.recipe
    name = layout or recipe.export.layout
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    clips = kept_clips(dataset, recipe.dataset.selection)
    if not clips:
        raise UnusableError(
            f"{dataset.path}: selection {recipe.dataset.selection!r} keeps no clip; "
            "`wanctl data check` says why"
        )
    target = ExportTarget(to.resolve(), _export_format(loaded).fps, recipe.train_dit.buckets)
    check_target(target.folder, clips)
    with locked(target.folder):
        _export(loaded, name, target, dataset, clips)


def _export(
    loaded: LoadedRecipe,
    layout: str,
    target: ExportTarget,
    dataset: DatasetDir,
    clips: Sequence[Mapping[str, Any]],
) -> None:
    remove_leftovers(target.folder)
    backends = loaded.recipe.caption.backends
    captions = read_captions(dataset, backends, [clip["id"] for clip in clips])
    run = _Export(loaded, LAYOUTS[layout], target, clips, captions)
    samples, files = run.write()
    if not samples:
        run.manifest.save()
        clip, why = next(iter(run.manifest.left_out.items()))
        raise UnusableError(
            f"{target.folder}: none of the {len(clips)} clips could be exported; the first, "
            f"{clip}: {why}"
        )
    card = data_card(loaded, dataset)
    run.write_index(replace(card, layout=layout, exported=_totals(samples)), files)
    _log_result(target.folder, layout, samples, run.manifest.left_out)


class _Export:
    """One export: the plans of its clips, its video files, its index files."""

    def __init__(
        self,
        loaded: LoadedRecipe,
        layout: Layout,
        target: ExportTarget,
        clips: Sequence[Mapping[str, Any]],
        captions: Mapping[str, Sequence[ClipCaption]],
    ) -> None:
        self._loaded = loaded
        self._layout = layout
        self._target = target
        self._captions = captions
        self._rows = {clip["id"]: clip for clip in clips}
        folder = target.folder / (WORK if layout.packed else layout.videos)
        form = _export_format(loaded)
        self.manifest = ExportManifest(target.folder)
        self._unfit: dict[str, str] = {}
        plans = (plan_clip(clip, folder, form) for clip in clips)
        self._plans = list(self._in_buckets(plans) if layout.bucketed else plans)

    def write(self) -> tuple[list[ExportSample], list[str]]:
        """Write the videos; returns the samples that were written and the names of the files."""
        with (
            _pool(self._loaded) as pool,
            progress(len(self._plans), "export clips") as bar,
        ):
            if self._layout.packed:
                shard_bytes = int(self._loaded.recipe.export.shard_mb * 1e6)
                names = write_shards(
                    self._target.folder,
                    self._plans,
                    self._sample,
                    self.manifest,
                    shard_bytes=shard_bytes,
                    pool=pool,
                    progress=bar,
                )
                made = [plan for plan in self._plans if plan.id not in self.manifest.left_out]
                return [self._sample(plan) for plan in made], names
            self.manifest.record_files(self._name(plan) for plan in self._plans)
            results = list(cut_clips(self._plans, pool, bar))
        failed = {plan.id: why for plan, why in results if why}
        self.manifest.left_out = {**self._unfit, **failed}
        made = [plan for plan, why in results if not why]
        return [self._sample(plan) for plan in made], [self._name(plan) for plan in made]

    def write_index(self, card: Card, videos: Sequence[str]) -> None:
        """Write the index files and the data card, and delete stale files."""
        folder = self._target.folder
        made = [plan for plan in self._plans if plan.id not in self.manifest.left_out]
        index = self._layout.index([self._sample(plan) for plan in made], self._target)
        self.manifest.record_files([*index, *CARD_FILES])
        for name, text in index.items():
            _write_changed(folder / name, text.encode())
        write_card(folder, card, self._layout.hub_files)
        removed = self.manifest.remove_stale([*videos, *index, *CARD_FILES])
        if removed:
            log.info("%s: deleted %d files of an earlier export", folder, removed)

    def _in_buckets(self, plans: Iterable[ClipPlan]) -> Iterator[ClipPlan]:
        """The plans that fill a bucket, with the folder and length that the layout wants for it."""
        for plan in plans:
            shape = (plan.num_frames, plan.height, plan.width)
            bucket = self._target.bucket(*shape)
            if bucket is None:
                self._unfit[plan.id] = self._target.why_no_bucket(*shape)
                continue
            if self._layout.bucket_folders:
                folder = plan.path.parent / bucket_name(bucket)
                plan = replace(plan, path=folder / plan.path.name)
            if self._layout.bucket_length:
                plan = replace(plan, num_frames=bucket.frames)
            yield plan

    def _name(self, plan: ClipPlan) -> str:
        return plan.path.relative_to(self._target.folder).as_posix()

    def _sample(self, plan: ClipPlan) -> ExportSample:
        row = self._rows[plan.id]
        facts = {
            "source": row["source"],
            "start_s": row["start_s"],
            "end_s": row["end_s"],
            "crop": crop_of(row),
            "crf": plan.form.crf,
            "weight": 1.0 if row["weight"] is None else row["weight"],
            "labels": {each["filter"]: each["label"] for each in row["labels"] or ()},
        }
        return ExportSample(plan.file, self._captions.get(plan.id, ()), facts)


def check(
    loaded: LoadedRecipe,
    out: Path,
    path: Path | None,
    table: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """List for every clip whether training uses it, in which bucket, and why not.

    Args:
        loaded: the recipe; clips are checked against its `train_dit` buckets and frame rate.
        out: the run folder.
        path: a data set directory, or a folder or index file in another trainer's layout;
            None: the recipe's data set.
        table: CSV file that receives every row.
        as_json: print every row as JSON.

    Raises:
        LayoutError: the layout of the path is unknown.
        UnusableError: no clip would be trained on.
    """
    report = check_report(loaded, out, path)
    for note in report.notes:
        log.warning("%s: %s", report.where, printable(note))
    _show(report.rows, table, as_json=as_json)
    states = Counter(row.state for row in report.rows)
    if states["in"]:
        return
    if states["no caption"]:
        log.warning(
            "none of the clips that fit has a caption: train-vae can use them, train-dit not"
        )
        return
    counts = ", ".join(f"{n} {state}" for state, n in states.most_common()) or "no clips"
    raise UnusableError(f"{report.where}: nothing to train on: {counts}")


def check_report(loaded: LoadedRecipe, out: Path, path: Path | None) -> CheckReport:
    """The rows of `check`, without printing anything but the layout; raises as `check` does."""
    recipe = loaded.recipe
    shapes = TrainingShapes(recipe.train_dit.buckets, recipe.train_dit.clip_fps)
    where = path or recipe.dataset.path or out / "dataset"
    named = path or recipe.dataset.path
    if named is None or not named.exists() or (where / "dataset.json").is_file():
        dataset = DatasetDir.open(where)
        selection = recipe.dataset.selection
        kept_clips(dataset, selection)  # raises, naming the selections, where there is none
        rows = list(check_dataset(dataset, selection, recipe.caption.backends, shapes))
        return CheckReport(str(where), "wanctl", (), rows)
    external = read_layout(where)
    log.info("%s: read as %s, %d clips", where, external.layout, len(external.clips))
    with _pool(loaded) as pool, progress(len(external.clips), "check") as bar:
        rows = list(check_external(external.clips, shapes, pool, bar))
    return CheckReport(str(where), external.layout, external.notes, rows)


def _pool(loaded: LoadedRecipe) -> DecodePool:
    decode = loaded.recipe.curate.decode
    return DecodePool(decode.workers, decode.timeout_s, int(decode.memory_gb * 2**30))


def _show(rows: Sequence[CheckRow], table: Path | None, *, as_json: bool) -> None:
    columns = [column.name for column in fields(CheckRow)]
    if table is not None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([csv_cell(cell) for cell in row.cells()] for row in rows)
        write_bytes(table, text.getvalue().encode())
    shown = rows[:ROWS_SHOWN] if sys.stdout.isatty() and not as_json else rows
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_rows(columns, (row.cells() for row in shown))
    if len(shown) < len(rows):
        log.info("%d more rows; --csv FILE writes all", len(rows) - len(shown))
    states = Counter(row.state for row in rows)
    log.info(
        "%d clips: %s", len(rows), ", ".join(f"{n} {state}" for state, n in states.most_common())
    )
    for bucket, count in Counter(row.bucket for row in rows if row.state == "in").most_common():
        log.info("bucket %s: %d clips", bucket, count)


def _export_format(loaded: LoadedRecipe) -> ExportFormat:
    section = loaded.recipe.export
    return ExportFormat(
        fps=section.fps or loaded.recipe.train_dit.clip_fps,
        height=section.height,
        width=section.width,
        crf=section.crf,
        trim_to_latents=True,
    )


def _write_changed(path: Path, data: bytes) -> None:
    # writing flushes to disk, which is slow for thousands of unchanged caption files
    if not path.exists() or path.read_bytes() != data:
        write_bytes(path, data)


def _totals(samples: Sequence[ExportSample]) -> dict[str, Any]:
    return {
        "clips": len(samples),
        "seconds": round(sum(s.file.num_frames / s.file.fps for s in samples), 3),
        "without_caption": sum(not sample.captions for sample in samples),
        "captions": sum(len(sample.captions) for sample in samples),
    }


def _log_result(
    to: Path, name: str, samples: Sequence[ExportSample], left_out: Mapping[str, str]
) -> None:
    log.info("%d clips in %s, in the layout of %s", len(samples), to, LAYOUTS[name].read_by)
    without = sum(not sample.captions for sample in samples)
    if without:
        log.warning("%d of them have no caption; `wanctl caption` writes captions", without)
    if left_out:
        log.warning("%d clips are left out; export.json there gives the reasons", len(left_out))
