"""What `wanctl caption` does to the parts of a data set: every captioner in turn, and the counts.

A clip goes to the first captioner that has a caption for it. Which clips are left for the next one
is read from the tables, so that nothing has to be remembered between parts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from wanctl.caption.backends import (
    VLM,
    Captioner,
    CaptionOptions,
    Sidecar,
    build_captioner,
    caption_table,
)
from wanctl.caption.captioner_run import CaptionerRun, CaptionerSettings
from wanctl.caption.checks.text import DuplicateCaptions
from wanctl.caption.clips import KeptClips, PartClips, read_kept
from wanctl.caption.pipeline.decode import DecodedFrames
from wanctl.caption.pipeline.model_run import ModelRun
from wanctl.caption.pipeline.part_work import PartWork
from wanctl.caption.pipeline.summary import ModelTotals
from wanctl.caption.pipeline.tables import NOT_FINAL, ModelTables
from wanctl.caption.structured.clip_steps import Role, StepsFactory
from wanctl.data.dataset import DatasetDir
from wanctl.distributed.ray_actors import RayResources
from wanctl.log import ProgressDisplay
from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatModel, ChatModelOptions

Parts = Sequence[tuple[str, np.ndarray | None]]
"""(part, its rows that count) each, as `DatasetDir.first_rows` has them."""

EXAMPLES = 5
"""Clips without a caption that the summary names."""


@dataclass(frozen=True)
class VlmJob:
    """The structured captioner.

    Attributes:
        model: that sees the frames.
        text_model: that writes the captions; None: `model`.
        factory: makes the factory of steps from the names of both; can be pickled.
        max_bytes: of frames in memory.
        retry: names of checks whose flags are asked again.
    """

    model: ChatModelOptions
    text_model: ChatModelOptions | None
    factory: Callable[[str, str], StepsFactory]
    max_bytes: int
    retry: tuple[str, ...]


@dataclass(frozen=True)
class CaptionJob:
    """Everything that determines the captions. Can be pickled.

    Attributes:
        backends: names of the captioners, in order.
        options: of the captioners.
        settings: how they are run.
        vlm: the structured captioner, where it is one of them.
        selection: of the clips.
        ray: resources for the engine of that name.
    """

    backends: tuple[str, ...]
    options: CaptionOptions
    settings: CaptionerSettings
    vlm: VlmJob | None
    selection: str
    ray: RayResources


@dataclass
class CaptionTotals:
    """Counts of a run.

    Attributes:
        clips: captioner -> clips that it captioned, in this run or an earlier one.
        without: clips that no captioner captioned.
        examples: some of them.
        unquoted: captions that did not quote the text in the picture.
        duplicates: captions that many sources share.
        model: what the structured captioner did.
    """

    clips: Counter[str] = field(default_factory=Counter)
    without: int = 0
    examples: list[str] = field(default_factory=list)
    unquoted: int = 0
    duplicates: DuplicateCaptions = field(default_factory=DuplicateCaptions)
    model: ModelTotals = field(default_factory=ModelTotals)

    def merge(self, other: "CaptionTotals") -> None:
        """Add those of another process."""
        self.clips.update(other.clips)
        self.without += other.without
        self.examples += other.examples
        self.unquoted += other.unquoted
        self.duplicates.merge(other.duplicates)
        self.model.merge(other.model)


class CaptionWorker:
    """Captions parts of a data set. Models stay loaded between calls; a context manager.

    Args:
        dataset: opened for writing.
        job: what is done.

    Attributes:
        captioners: those that answer at once, by name.
        tables: of captions and what belongs to them, by name of the captioner.
        kept: the clips that are captioned.

    Raises:
        UserError: a captioner or model cannot run, or there is no such selection.
    """

    def __init__(self, dataset: DatasetDir, job: CaptionJob) -> None:
        self._dataset, self._job = dataset, job
        self.captioners: dict[str, Captioner] = {
            name: build_captioner(name, job.options) for name in job.backends if name != VLM
        }
        self._models: dict[Role, ChatModel] = {}
        self._model_tables: ModelTables | None = None
        self.tables: dict[str, str] = {}
        self.kept = KeptClips(None, {})
        with ExitStack() as stack:
            stack.callback(self.close)
            self._set_up()
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Ctrl-C does not wait for a batch that is being computed; the process ends
        if not isinstance(error, KeyboardInterrupt):
            self.close()

    def close(self) -> None:
        """Free the models, or close the connections to them."""
        for model in {id(each): each for each in self._models.values()}.values():
            model.close()

    @property
    def table_names(self) -> list[str]:
        """All tables that the job writes, in the order of the captioners."""
        names = []
        for name in self._job.backends:
            if name == VLM and self._model_tables is not None:
                names += self._model_tables.names
            else:
                names.append(self.tables[name])
        return names

    def run(self, parts: Parts, display: ProgressDisplay) -> CaptionTotals:
        """Caption the clips of parts by one captioner after the other.

        Raises:
            UserError: a model cannot answer, or the disk is full; finished work is kept.
        """
        totals, total = CaptionTotals(), self._count(parts)
        for name in self._job.backends:
            bar = display.bar(total, f"caption: {name}")
            if name == VLM:
                self._run_model(parts, bar, totals)
                continue
            run = CaptionerRun(self._dataset, name, self.captioners[name], self._job.settings)
            for clips in self._clips(parts):
                left = self._left(clips, before=name)
                bar.advance(len(clips.ids) - len(left))
                run.part(clips, left)
                bar.advance(len(left))
            totals.unquoted += run.unquoted
        for clips in self._clips(parts):
            self._count_part(clips, totals)
        return totals

    def _set_up(self) -> None:
        for captioner in self.captioners.values():
            captioner.check()
        self.tables = {
            name: caption_table(name, captioner.key) for name, captioner in self.captioners.items()
        }
        if self._job.vlm is not None:
            self._model_tables = self._set_up_model(self._job.vlm)
            self.tables[VLM] = self._model_tables.captions
        for captioner in self.captioners.values():
            if isinstance(captioner, Sidecar):
                captioner.match(_sources(self._dataset))
        self.kept = read_kept(self._dataset, self._job.selection)

    def _set_up_model(self, job: VlmJob) -> ModelTables:
        model = build_chat_model(job.model)
        self._models = {"vision": model, "text": model}
        model.check()
        if job.text_model is not None:
            self._models["text"] = build_chat_model(job.text_model)
            self._models["text"].check()
        self._factory = job.factory(model.name, self._models["text"].name)
        return ModelTables(
            self._dataset, self._factory.key, self._factory.structure_key, model.name
        )

    def _run_model(self, parts: Parts, bar: Any, totals: CaptionTotals) -> None:
        vlm, tables = self._job.vlm, self._model_tables
        assert vlm is not None
        assert tables is not None
        retry = (*NOT_FINAL, *vlm.retry)

        def works() -> Iterator[PartWork]:
            for clips in self._clips(parts):
                ids = self._left(clips, before=VLM)
                bar.advance(len(clips.ids) - len(ids))
                yield PartWork(clips, ids, tables, self._factory, retry)

        sizes = {source["uri"]: source["size"] for source in self._dataset.sources}
        source = DecodedFrames(self._job.settings.limits, sizes)
        run = ModelRun(self._models, self._factory, source, vlm.max_bytes)
        run.run(works(), bar)
        totals.model.add_run(run)

    def _clips(self, parts: Parts) -> Iterator[PartClips]:
        for part, first in parts:
            yield PartClips(self._dataset, part, first, self.kept)

    def _count(self, parts: Parts) -> int:
        total = 0
        for part, first in parts:
            ids = self._dataset.read("clips", ["id"], parts=[part])["id"]
            names = (ids if first is None else ids.take(first)).to_pylist()
            total += sum(self.kept.ids is None or each in self.kept.ids for each in names)
        return total

    def _left(self, clips: PartClips, *, before: str) -> list[str]:
        """Clips of a part that no captioner of the recipe before this one captioned."""
        done: set[str] = set()
        for name in self._job.backends[: self._job.backends.index(before)]:
            done |= self._captioned(name, clips.part)
        return [each for each in clips.ids if each not in done]

    def _captioned(self, name: str, part: str) -> set[str]:
        table = self.tables[name]
        if not self._dataset.has_part(table, part):
            return set()
        return set(self._dataset.read(table, ["id"], parts=[part])["id"].to_pylist())

    def _count_part(self, clips: PartClips, totals: CaptionTotals) -> None:
        left = set(clips.ids)
        for name in self._job.backends:
            found = self._captioned(name, clips.part) & left
            totals.clips[name] += len(found)
            # those of the model are compared by `shared_captions.py`
            if found and name != VLM and self.captioners[name].author != "rule":
                self._count_duplicates(name, clips, found, totals)
            left -= found
        totals.without += len(left)
        totals.examples += [each for each in clips.ids if each in left][:EXAMPLES]

    def _count_duplicates(
        self, name: str, clips: PartClips, found: set[str], totals: CaptionTotals
    ) -> None:
        """Note the captions of clips."""
        table = self._dataset.read(self.tables[name], ["id", "text"], parts=[clips.part])
        for clip_id, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
            if clip_id in found:
                totals.duplicates.add(text, clips.row(clip_id)["source"])


def _sources(dataset: DatasetDir) -> list[str]:
    """Every source: of clips, kept or not, and of files that gave none."""
    known = [source["uri"] for source in dataset.sources]
    clips = dataset.read("clips", ["source"], coded=["source"])["source"].unique().to_pylist()
    return list(dict.fromkeys([*known, *clips]))
