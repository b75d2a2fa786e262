"""`wanctl caption`: runs the backends of the recipe in order until every kept clip has a caption.

Writes one part of `captions/NAME@KEY/` per part of `clips/`. Captions of a model are kept: it runs
only on clips that it has not captioned yet. Sidecars and templates cost nothing, so they are read
again each time and an edited file takes effect.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from wanctl.caption.backends import (
    VLM,
    Caption,
    CaptionClip,
    Captioner,
    CaptionOptions,
    Sidecar,
    build_captioner,
    caption_table,
)
from wanctl.caption.checks.text import (
    DuplicateCaptions,
    caption_problem,
    normalise,
    unquoted,
    with_quotes,
)
from wanctl.caption.prompt import visible_texts
from wanctl.data.card import refresh_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_ids, kept_rows, report_lost
from wanctl.data.table_order import latest_table, record_tables
from wanctl.errors import UserError
from wanctl.log import Bar, log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.schema import Recipe
from wanctl.video.decode import read_clip
from wanctl.video.frames import FrameBatch, FrameSpec, range_of
from wanctl.video.workers.worker_pool import DecodePool, Failure

BATCH = 16
"""Number of clips that a captioner gets at a time."""

Row = dict[str, Any]


def caption(loaded: LoadedRecipe, out: Path) -> None:
    """Caption the kept clips of a data set and log counts per backend.

    Args:
        loaded: the recipe; its `caption`, `dataset` and `curate.decode` sections are used.
        out: output folder; the data set is `dataset` in it unless the recipe says otherwise.

    Raises:
        UserError: no data set, no such selection, a backend that cannot run, or no clip that got a
            caption.
    """
    recipe = loaded.recipe
    options = CaptionOptions(sidecar_dir=recipe.caption.sidecar_dir)
    captioners = {name: build_captioner(name, options) for name in _backends(recipe)}
    for captioner in captioners.values():
        captioner.check()
    tables = [caption_table(name, captioner) for name, captioner in captioners.items()]
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset", lock=True)
    for captioner in captioners.values():
        if isinstance(captioner, Sidecar):
            captioner.match(_sources(dataset))
    record_tables(dataset, tables)
    kept = _kept(dataset, recipe.dataset.selection)
    if kept is not None and not kept:
        raise UserError(
            f"{dataset.path}: selection {recipe.dataset.selection!r} keeps no clip; "
            "`wanctl data select` decides again after the filters were loosened"
        )
    run = _Run(dataset, captioners, recipe)
    known = dataset.clips(["id"])["id"].to_pylist()
    if kept is not None and (lost := len(kept.difference(known))):
        report_lost(dataset, recipe.dataset.selection, lost)
    total = len(kept) if kept is not None else len(known)
    with progress(total, "caption") as bar:
        for part, clips in dataset.clips_by_part():
            rows = clips.to_pylist()
            run.part(part, [row for row in rows if kept is None or row["id"] in kept], bar)
    refresh_captions(dataset, set(known) if kept is None else kept)
    run.log_summary()
    if run.without and not sum(run.counts.values()):
        raise UserError(
            f"{dataset.path}: none of {len(run.without)} clips got a caption from "
            f"{', '.join(captioners)}; add sidecar files, or `template` to caption.backends"
        )


def _backends(recipe: Recipe) -> list[str]:
    """The recipe's backends, without the model where none is named."""
    names = list(recipe.caption.backends)
    if VLM in names and recipe.caption.model.model is None:
        log.info("caption.model.model is null: no model writes captions")
        names.remove(VLM)
    return names


class _Run:
    """One pass over the data set with its counts."""

    def __init__(
        self, dataset: DatasetDir, captioners: dict[str, Captioner], recipe: Recipe
    ) -> None:
        self.dataset = dataset
        self.captioners = captioners
        self.decode = recipe.curate.decode
        self.counts: Counter[str] = Counter()
        self.without: list[str] = []
        self.duplicates = DuplicateCaptions()
        self.labels = _labels(dataset, recipe.dataset.selection)
        self.quote_text = recipe.caption.quote_text
        self.unquoted = 0

    def part(self, part: str, rows: Sequence[Row], bar: Bar) -> None:
        """Caption the clips of one part."""
        left = list(rows)
        for name, captioner in self.captioners.items():
            table = caption_table(name, captioner)
            old = self._kept_rows(table, part) if captioner.author == "model" else []
            done = {row["id"] for row in old}
            pending = [row for row in left if row["id"] not in done]
            captions = old
            for new in self._run_captioner(name, captioner, part, pending) if pending else ():
                captions = sorted(captions + new, key=_order)
                if captioner.author == "model":  # a kill loses one batch at most
                    self.dataset.write_part(table, part, captions)
            if captions or self.dataset.has_part(table, part):
                self.dataset.write_part(table, part, captions)
            done |= {row["id"] for row in captions}
            self._count(name, captioner, left, captions)
            bar.advance(sum(row["id"] in done for row in left), name)
            left = [row for row in left if row["id"] not in done]
        bar.advance(len(left))
        self.without += [row["id"] for row in left]

    def _kept_rows(self, table: str, part: str) -> list[Row]:
        if not self.dataset.has_part(table, part):
            return []
        return self.dataset.read(table, parts=[part]).to_pylist()

    def _run_captioner(
        self, name: str, captioner: Captioner, part: str, rows: Sequence[Row]
    ) -> Iterator[list[Row]]:
        """Yield the caption rows of each batch of clips that pass the checks."""
        evidence = {each: self._evidence(each, part) for each in captioner.evidence}
        clips = [_clip(row, evidence, self.labels) for row in rows]
        spec = captioner.frames()
        frames: Iterable[FrameBatch | None]
        frames = [None] * len(rows) if spec is None else self._frames(rows, spec)
        pairs = zip(clips, frames, strict=True)
        seen = (pair for pair in pairs if spec is None or pair[1] is not None)
        while batch := list(islice(seen, BATCH)):
            answers = captioner.caption([clip for clip, _ in batch], [frame for _, frame in batch])
            # a captioner that drops an answer would shift all later ones to the wrong clips
            yield [
                row
                for (clip, _), captions in zip(batch, answers, strict=True)
                for row in _checked(name, captioner, clip, self._quoting(captioner, clip, captions))
            ]

    def _quoting(
        self, captioner: Captioner, clip: CaptionClip, captions: Sequence[Caption]
    ) -> list[Caption]:
        """Apply `caption.quote_text` to captions of a model that gets OCR strings."""
        texts = visible_texts(clip.evidence) if captioner.author == "model" else []
        kept = []
        for each in captions:
            missing = unquoted(each.text, texts) if self.quote_text != "ignore" else []
            self.unquoted += bool(missing)
            if missing and self.quote_text == "drop":
                continue
            if missing:
                each = Caption(with_quotes(each.text.strip(), missing), each.variant)
            kept.append(each)
        return kept

    def _frames(self, rows: Sequence[Row], spec: FrameSpec) -> Iterator[FrameBatch | None]:
        """Decoded frames of each clip; None, with a warning, where decoding fails."""
        tasks = (
            (
                Path(row["source"]), row["start_pts"], row["end_pts"], [spec],
                row["width"], row["height"], range_of(row),
            )
            for row in rows
        )  # fmt: skip
        memory = int(self.decode.memory_gb * 2**30)
        with DecodePool(self.decode.workers, self.decode.timeout_s, memory) as pool:
            for index, result in pool.map(read_clip, tasks):
                if isinstance(result, Failure):
                    row = rows[index]
                    log.warning("%s (%s): %s", row["source"], row["id"], result.message)
                    yield None
                else:
                    yield result[0]

    def _evidence(self, name: str, part: str) -> dict[str, Row]:
        """A filter's measurements by clip; the latest where it ran with several settings."""
        table = latest_table(self.dataset, "evidence", name, part=part)
        if table is None:
            return {}
        return {row["id"]: row for row in self.dataset.read(table, parts=[part]).to_pylist()}

    def _count(
        self, name: str, captioner: Captioner, clips: Sequence[Row], captions: Sequence[Row]
    ) -> None:
        sources = {row["id"]: row["source"] for row in clips}
        self.counts[name] += len({row["id"] for row in captions} & set(sources))
        if captioner.author != "rule":
            for row in captions:
                if row["id"] in sources:
                    self.duplicates.add(row["text"], sources[row["id"]])

    def log_summary(self) -> None:
        """Log how many clips each backend captioned, and warnings."""
        counts = ", ".join(f"{name} {self.counts[name]}" for name in self.captioners)
        log.info("captioned %d clips: %s", sum(self.counts.values()), counts)
        for captioner in self.captioners.values():
            if isinstance(captioner, Sidecar):
                captioner.log_unused_cues()
        if self.unquoted:
            action = {"append": "it was added", "drop": "they were dropped"}[self.quote_text]
            log.warning(
                "%d captions did not quote the text in the picture; %s", self.unquoted, action
            )
        for text, sources in self.duplicates.repeated():
            log.warning("%d different sources share one caption: %.60r", sources, text)
        if self.without:
            some = ", ".join(self.without[:5]) + (", ..." if len(self.without) > 5 else "")
            log.warning(
                "%d clips have no caption and will not be trained on (%s); "
                "add sidecar files or `template` to caption.backends",
                len(self.without),
                some,
            )


def _kept(dataset: DatasetDir, selection: str) -> set[str] | None:
    """Ids of the kept clips; None (all clips) where nothing has been selected yet."""
    table = f"selections/{selection}"
    names = dataset.tables("selections")
    if table not in names:
        if names:
            known = ", ".join(name.removeprefix("selections/") for name in names)
            raise UserError(
                f"dataset.selection: no selection named {selection!r} in {dataset.path} "
                f"(there are: {known}); `wanctl data select` makes one"
            )
        log.info("nothing is selected yet; captioning all clips")
        return None
    return set(kept_ids(dataset, selection))


def _sources(dataset: DatasetDir) -> list[str]:
    """Every source: of clips, kept or not, and of files that gave none."""
    known = [source["uri"] for source in dataset.sources]
    clips = dataset.read("clips", ["source"], coded=["source"])["source"].unique().to_pylist()
    return list(dict.fromkeys([*known, *clips]))


def _labels(dataset: DatasetDir, selection: str) -> dict[str, dict[str, str]]:
    """Kept clip -> filter -> label of the clip; empty where nothing is selected."""
    return {
        row["id"]: {each["filter"]: each["label"] for each in row["labels"]}
        for row in kept_rows(dataset, selection, ["id", "labels"]).to_pylist()
        if row["labels"]
    }


def _clip(
    row: Row, evidence: dict[str, dict[str, Row]], labels: dict[str, dict[str, str]]
) -> CaptionClip:
    own = labels.get(row["id"], {})
    return CaptionClip(
        id=row["id"],
        source=Path(row["source"]),
        shot=row["shot"],
        start_s=row["start_s"],
        duration_s=row["end_s"] - row["start_s"],
        width=row["width"],
        height=row["height"],
        has_audio=row["has_audio"],
        evidence={
            name: {**rows[row["id"]], "label": own.get(name)}
            for name, rows in evidence.items()
            if row["id"] in rows
        },
    )


def _checked(
    name: str, captioner: Captioner, clip: CaptionClip, captions: Sequence[Caption]
) -> Iterator[Row]:
    for each in captions:
        text = normalise(each.text, strip_opener=captioner.author == "model")
        if why := caption_problem(text, captioner.author):
            log.warning("%s (%s): the caption from %s %s", clip.source, clip.id, name, why)
            continue
        yield {"id": clip.id, "text": text, "variant": each.variant, "backend": name}


def _order(row: Row) -> tuple[str, str]:
    return row["id"], row["variant"]
