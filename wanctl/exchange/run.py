"""`wanctl data export` and `wanctl data check`."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from wanctl.atomic import remove_leftovers, write_bytes
from wanctl.data.captions import Caption, read_captions
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
from wanctl.errors import UserError
from wanctl.exchange.check import Row, Wanted, check_dataset, check_items
from wanctl.exchange.layouts import LAYOUTS, Layout, Sample, Target
from wanctl.exchange.ledger import Ledger
from wanctl.exchange.readers import read_layout
from wanctl.exchange.shards import WORK, write_shards
from wanctl.listing import show
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.report.card import describe
from wanctl.video.worker_pool import DecodePool

CARD_FILES = ("README.md", "datacard.json")
ROWS_SHOWN = 100


class UnusableError(UserError):
    """The data set has no clip to export or to train on."""


def export(loaded: LoadedRecipe, out: Path, to: Path, layout: str | None = None) -> None:
    """Cut the kept clips out and lay them down as another program reads them.

    Clips that are there already are kept, and clips of an earlier export that are not selected
    any more are taken away.

    Args:
        loaded: the recipe; `export`, `dataset`, `caption.backends` and `train_dit` are used.
        out: the run folder.
        to: gets the files.
        layout: a row of LAYOUTS; default: the recipe's.

    Raises:
        DatasetError: no data set or no such selection.
        ExportError: the folder holds an unknown `export.json`.
        UnusableError: the selection keeps no clip.
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
    target = Target(to.resolve(), _form(loaded).fps, recipe.train_dit.buckets)
    target.folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.folder)
    words = read_captions(dataset, recipe.caption.backends, [clip["id"] for clip in clips])
    run = _Export(loaded, LAYOUTS[name], target, clips, words)
    samples, files = run.write()
    card = describe(dataset, loaded)
    run.settle(replace(card, layout=name, exported=_totals(samples)), files)
    _tell(to, name, samples, run.ledger.left_out)


class _Export:
    """One export: plans, files, index."""

    def __init__(
        self,
        loaded: LoadedRecipe,
        layout: Layout,
        target: Target,
        clips: Sequence[Mapping[str, Any]],
        words: Mapping[str, Sequence[Caption]],
    ) -> None:
        self._loaded = loaded
        self._layout = layout
        self._target = target
        self._words = words
        self._rows = {clip["id"]: clip for clip in clips}
        folder = target.folder / (WORK if layout.packed else layout.videos)
        form = _form(loaded)
        self._plans = [plan_clip(clip, folder, form) for clip in clips]
        self.ledger = Ledger(target.folder)

    def write(self) -> tuple[list[Sample], list[str]]:
        """Write the videos; returns what became files, and the names of the files."""
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
                    self.ledger,
                    shard_bytes=shard_bytes,
                    pool=pool,
                    progress=bar,
                )
                made = [plan for plan in self._plans if plan.id not in self.ledger.left_out]
                return [self._sample(plan) for plan in made], names
            self.ledger.claim(self._name(plan) for plan in self._plans)
            results = list(cut_clips(self._plans, pool, bar))
        self.ledger.left_out = {plan.id: why for plan, why in results if why}
        made = [plan for plan, why in results if not why]
        return [self._sample(plan) for plan in made], [self._name(plan) for plan in made]

    def settle(self, card: Card, videos: Sequence[str]) -> None:
        """Write index and card, and take away what is stale."""
        folder = self._target.folder
        made = [plan for plan in self._plans if plan.id not in self.ledger.left_out]
        index = self._layout.index([self._sample(plan) for plan in made], self._target)
        self.ledger.claim([*index, *CARD_FILES])
        for name, text in index.items():
            _write_changed(folder / name, text.encode())
        write_card(folder, card)
        removed = self.ledger.settle([*videos, *index, *CARD_FILES])
        if removed:
            log.info("%s: %d files of an earlier export are gone", folder, removed)

    def _name(self, plan: ClipPlan) -> str:
        return plan.path.relative_to(self._target.folder).as_posix()

    def _sample(self, plan: ClipPlan) -> Sample:
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
        return Sample(plan.file, self._words.get(plan.id, ()), facts)


def check(loaded: LoadedRecipe, out: Path, path: Path | None, table: Path | None) -> None:
    """Say of every clip whether training takes it, into which bucket, and why not.

    Args:
        loaded: the recipe; its `train_dit` buckets and frame rate are the measure.
        out: the run folder.
        path: a data set directory, or a folder or index file in another trainer's layout;
            None: the recipe's data set.
        table: CSV file that gets every row.

    Raises:
        LayoutError: the path is in no layout that is known.
        UnusableError: no clip would be trained on.
    """
    recipe = loaded.recipe
    wanted = Wanted(recipe.train_dit.buckets, recipe.train_dit.clip_fps)
    where = path or recipe.dataset.path or out / "dataset"
    if path is None or (where / "dataset.json").is_file():
        dataset = DatasetDir.open(where)
        selection = recipe.dataset.selection
        kept_clips(dataset, selection)  # says which selections there are
        rows = list(check_dataset(dataset, selection, recipe.caption.backends, wanted))
    else:
        listed = read_layout(where)
        log.info("%s: read as %s, %d clips", where, listed.layout, len(listed.items))
        for note in listed.notes:
            log.warning("%s: %s", where, note)
        with _pool(loaded) as pool, progress(len(listed.items), "check") as bar:
            rows = list(check_items(listed.items, wanted, pool, bar))
    _show(rows, table)
    if any(row.state == "no caption" for row in rows) and not any(
        row.state == "in" for row in rows
    ):
        log.warning("none of the clips that fit has a caption: enough for train-vae alone")
    elif not any(row.state == "in" for row in rows):
        counts = Counter(row.state for row in rows)
        told = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "no clips"
        raise UnusableError(f"{where}: nothing to train on: {told}")


def _pool(loaded: LoadedRecipe) -> DecodePool:
    decode = loaded.recipe.curate.decode
    return DecodePool(decode.workers, decode.timeout_s, int(decode.memory_gb * 2**30))


def _show(rows: Sequence[Row], table: Path | None) -> None:
    columns = [column.name for column in fields(Row)]
    if table is not None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(row.cells() for row in rows)
        write_bytes(table, text.getvalue().encode())
    told = rows[:ROWS_SHOWN] if sys.stdout.isatty() else rows
    show(columns, (row.cells() for row in told))
    if len(told) < len(rows):
        log.info("%d more; --csv FILE gets all", len(rows) - len(told))
    states = Counter(row.state for row in rows)
    log.info(
        "%d clips: %s", len(rows), ", ".join(f"{n} {state}" for state, n in states.most_common())
    )
    for bucket, count in Counter(row.bucket for row in rows if row.state == "in").most_common():
        log.info("bucket %s: %d clips", bucket, count)


def _form(loaded: LoadedRecipe) -> ExportFormat:
    section = loaded.recipe.export
    return ExportFormat(
        fps=section.fps or loaded.recipe.train_dit.clip_fps,
        height=section.height,
        width=section.width,
        crf=section.crf,
        whole_latents=True,
    )


def _write_changed(path: Path, data: bytes) -> None:
    # thousands of side-car files are not worth a flush each when nothing changed
    if not path.exists() or path.read_bytes() != data:
        write_bytes(path, data)


def _totals(samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "clips": len(samples),
        "seconds": round(sum(s.file.num_frames / s.file.fps for s in samples), 3),
        "without_caption": sum(not sample.captions for sample in samples),
        "captions": sum(len(sample.captions) for sample in samples),
    }


def _tell(to: Path, name: str, samples: Sequence[Sample], left_out: Mapping[str, str]) -> None:
    log.info("%d clips in %s, laid out for %s", len(samples), to, LAYOUTS[name].read_by)
    bare = sum(not sample.captions for sample in samples)
    if bare:
        log.warning("%d of them have no caption; `wanctl caption` gives them words", bare)
    if left_out:
        log.warning("%d clips could not be exported; export.json there says why", len(left_out))
