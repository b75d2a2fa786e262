"""One part of the data set: what is asked of its clips, and where the results go."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wanctl.caption.clips import PartClips, RowsById
from wanctl.caption.pipeline.journal import Journal, open_answers
from wanctl.caption.pipeline.tables import Missing, ModelTables
from wanctl.caption.structured.clip_steps import ClipTask, StepsFactory
from wanctl.caption.structured.result import ClipResult
from wanctl.data.accounting import quarantine_row
from wanctl.log import log
from wanctl.video.workers.worker_pool import Failure
from wanctl.vlm.chat import ChatAnswer, Frames


@dataclass
class ModelCounts:
    """What a model made in this run.

    Attributes:
        clips: that got a result.
        captions: of them, that passed the checks.
        flags: check -> captions and structures that failed it.
        failures: clips whose frames could not be decoded.
        input_tokens: of all requests.
        output_tokens: of all answers.
    """

    clips: int = 0
    captions: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, result: ClipResult) -> None:
        """Count one clip."""
        self.clips += 1
        self.captions += len(result.captions)
        self.flags.update(
            name
            for flag in result.flags
            for name in {each.partition(":")[0] for each in flag.checks}
        )
        self.input_tokens += result.input_tokens
        self.output_tokens += result.output_tokens

    def merge(self, other: "ModelCounts") -> None:
        """Add those of another process."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class PartWork:
    """The work on one part. Opening it moves what a killed run left in the journal to the tables.

    Args:
        clips: the clips of the part that are captioned; only `ids` of them are looked at.
        ids: those of them that no earlier captioner of the recipe captioned.
        tables: where results go.
        factory: makes the steps of a clip.
        retry: names of checks whose flags are asked again.
    """

    def __init__(
        self,
        clips: PartClips,
        ids: Sequence[str],
        tables: ModelTables,
        factory: StepsFactory,
        retry: Sequence[str],
    ) -> None:
        self.part = clips.part
        self._clips, self._tables, self._factory = clips, tables, factory
        self._journal = Journal(tables.journal(self.part))
        self._structures: RowsById | None = None
        self._answers: dict[str, ChatAnswer] = {}
        self.compact()
        if again := tables.forget_other_spans(self.part, {each: clips.span(each) for each in ids}):
            log.info("%d clips are captioned again, as another span of them is kept", again)
        tables.forget_flags(self.part, retry)
        self._missing = tables.missing(self.part, ids, self._variants)
        self.num_clips = len(ids)
        self.pending = len(self._missing)

    @property
    def missing(self) -> Mapping[str, Missing]:
        """Clip -> what it lacks."""
        return self._missing

    def row(self, clip_id: str) -> dict[str, Any]:
        """The clip's row of the clips table."""
        return self._clips.row(clip_id)

    def duration_s(self, clip_id: str) -> float:
        """Of the clip."""
        return self._clips.duration_s(clip_id)

    def needs_frames(self, clip_id: str) -> bool:
        """Whether the clip has to be decoded."""
        return not self._missing[clip_id].has_structure or self._factory.captions_need_frames

    def task(self, clip_id: str, frames: Frames | None) -> ClipTask:
        """What is missing of a clip, for its steps."""
        missing = self._missing[clip_id]
        structure = None
        if missing.has_structure:
            if self._structures is None:
                self._structures = RowsById(self._tables.structure_rows(self.part))
            row = self._structures.get(clip_id)
            assert row is not None
            structure = json.loads(row["structure"])
        clip = self._clips.clip(clip_id, self._factory.evidence)
        return ClipTask(clip, frames, structure, missing.variants)

    def record(self, result: ClipResult) -> None:
        """Write a clip's result to the journal.

        Raises:
            WriteError: the disk is full.
        """
        structure = result.structure and json.dumps(result.structure, ensure_ascii=False)
        self._journal.append(
            {
                "id": result.clip_id,
                "span": self._clips.span(result.clip_id),
                "structure": structure,
                "captions": [[each.variant, each.text] for each in result.captions],
                "flags": [asdict(each) for each in result.flags],
                "input_tokens": result.input_tokens,
                "output_tokens": result.output_tokens,
                "attempts": result.attempts,
            }
        )
        self.pending -= 1

    def fail(self, clip_id: str, failure: Failure) -> None:
        """Put a clip whose frames cannot be decoded into the quarantine, with a warning."""
        source = self.row(clip_id)["source"]
        log.warning("%s (%s): %s", source, clip_id, failure.message)
        self._journal.append({"failure": quarantine_row(source, failure, clip_id)})
        self.pending -= 1

    def compact(self) -> None:
        """Bring the results in the journal into the tables; answers to open clips stay in it.

        Raises:
            WriteError: the disk is full; the journal stays.
        """
        if not self._journal.path.exists():
            return
        self._tables.merge(self.part)
        self._answers = open_answers(self._journal.path)
        self._journal.clear()
        for answer in self._answers.values():
            self.keep(answer)

    def keep(self, answer: ChatAnswer) -> None:
        """Write an answer to a clip that is not complete yet to the journal.

        Raises:
            WriteError: the disk is full.
        """
        if answer.finish != "failed":
            self._journal.append({"answer": asdict(answer)})

    def answer(self, request_id: str) -> ChatAnswer | None:
        """The answer that an earlier run got; None where it got none."""
        return self._answers.get(request_id)

    def _variants(self, clip_id: str) -> tuple[str, ...]:
        return self._factory.variants(self.duration_s(clip_id))
