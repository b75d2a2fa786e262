"""Asks a captioner about clips and their changes through the structured pass, and keeps answers.

Every answer is appended to a file as it comes; a run that was stopped asks for the rest only.
"""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.caption.backends import CaptionClip
from wanctl.caption.evaluation.counterfactual.rates import ARMS, SWAPPED, change
from wanctl.caption.pipeline.journal import Journal, read_journal
from wanctl.caption.structured.clip_steps import ClipSteps, ClipTask, StepsFactory
from wanctl.caption.structured.result import ClipResult
from wanctl.log import Bar
from wanctl.video.frames import FrameBatch
from wanctl.vlm.chat import ChatModel

Structure = Mapping[str, Any]


@dataclass(frozen=True)
class ClipFrames:
    """A clip with its frames and those of the clip that it is swapped with."""

    clip: CaptionClip
    frames: FrameBatch
    other: CaptionClip
    other_frames: FrameBatch


class AnswerFile:
    """The answers so far, one JSON object a line. A last line that was cut off is dropped."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, dict[str, Structure | None]] = {}
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            write_bytes(path, whole)
        for record in read_journal(path) if whole else ():
            self._keep(record)
        self._journal = Journal(path)

    def has(self, clip: str, arm: str) -> bool:
        """Whether an arm of a clip was answered."""
        return arm in self.answers.get(clip, {})

    def add(self, clip: str, arm: str, structure: Structure | None) -> None:
        """Append an answer.

        Raises:
            WriteError: the disk is full.
        """
        record = {"clip": clip, "arm": arm, "structure": structure}
        self._journal.append(record)
        self._keep(record)

    def _keep(self, record: Mapping[str, Any]) -> None:
        self.answers.setdefault(record["clip"], {})[record["arm"]] = record["structure"]


@dataclass
class Asker:
    """Asks one captioner.

    Attributes:
        model: that sees the frames.
        factory: makes the requests; its clips carry no evidence, so that no hint is in a prompt.
        answers: filled as answers come.
        bar: advanced once for each answer.
        failures: error -> number of requests that the model could not answer; they are not kept.
    """

    model: ChatModel
    factory: StepsFactory
    answers: AnswerFile
    bar: Bar
    failures: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_stopped: bool = False
    _errors: list[BaseException] = field(default_factory=list)

    def run(self, clips: Iterator[ClipFrames]) -> None:
        """Ask about all arms of the clips.

        As many groups of `model.batch` clips are open as the model takes calls at the same time,
        and one more is decoded.

        Raises:
            UserError: the model can answer nothing, or the disk is full.
        """
        groups: queue.Queue[list[ClipFrames] | None] = queue.Queue(1)
        # daemons: Ctrl-C does not wait for an answer that may take minutes
        threads = [
            threading.Thread(target=self._serve, args=(groups,), daemon=True)
            for _ in range(self.model.parallel)
        ]
        for thread in threads:
            thread.start()
        try:
            while not self._errors and (group := list(islice(clips, self.model.batch))):
                self._put(groups, group)
            for _ in threads:
                self._put(groups, None)
            for thread in threads:
                thread.join()
        finally:
            self._is_stopped = True
        if self._errors:
            raise self._errors[0]

    def _put(self, groups: "queue.Queue[Any]", group: Sequence[ClipFrames] | None) -> None:
        """Wait for a free thread; none is left after an error."""
        while not self._errors:
            with suppress(queue.Full):
                groups.put(group, timeout=0.1)
                return

    def _serve(self, groups: "queue.Queue[Any]") -> None:
        try:
            while (group := self._get(groups)) is not None:
                self._ask_group(group)
        except BaseException as error:  # raised again by `run`
            self._errors.append(error)

    def _get(self, groups: "queue.Queue[Any]") -> Sequence[ClipFrames] | None:
        while not self._errors and not self._is_stopped:
            with suppress(queue.Empty):
                return groups.get(timeout=0.1)
        return None

    def _ask_group(self, group: Sequence[ClipFrames]) -> None:
        for arm in ARMS:
            pending = [each for each in group if not self.answers.has(each.clip.id, arm)]
            if pending and not self._is_stopped and not self._errors:
                self._ask_arm(arm, pending)

    def _ask_arm(self, arm: str, group: Sequence[ClipFrames]) -> None:
        with self._lock:  # steps and checks are used by one thread at a time
            steps = [self.factory.build(self._task(arm, each)) for each in group]
            asks = [(each, ask.request) for each in steps for ask in each.start()]
        while asks:
            answers = self.model.ask([request for _, request in asks])
            with self._lock:
                asks = [
                    (each, ask.request)
                    for (each, _), answer in zip(asks, answers, strict=True)
                    for ask in each.take(answer)
                ]
        with self._lock:
            for each in steps:
                self._keep(arm, each)

    def _task(self, arm: str, each: ClipFrames) -> ClipTask:
        clip, batch = each.clip, each.frames
        if arm == SWAPPED:
            clip = replace(clip, duration_s=each.other.duration_s)
            batch = each.other_frames
        clip = replace(clip, evidence={})
        return ClipTask(clip, self.factory.frames(change(arm, batch, clip.id)), None, ())

    def _keep(self, arm: str, steps: ClipSteps) -> None:
        result = steps.result
        assert result is not None
        if failure := _failure(result):
            self.failures[failure] = self.failures.get(failure, 0) + 1
        else:
            self.answers.add(result.clip_id, arm, result.structure)
        self.bar.advance()


def _failure(result: ClipResult) -> str:
    """Why the model could not answer at all; empty where it answered."""
    for flag in result.flags:
        if not flag.is_final:
            return "; ".join(flag.checks)
    return ""
