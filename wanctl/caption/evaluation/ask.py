"""Asks a captioner about clips and their changes through the structured pass, and keeps answers.

Every answer is appended to a file as it comes; a run that was stopped asks for the rest only.
"""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from wanctl.caption.backends import CaptionClip
from wanctl.caption.evaluation.counterfactual import ARMS, SWAPPED, change
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
        self._path = path
        self.answers: dict[str, dict[str, Structure | None]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            path.write_bytes(whole)
        for line in whole.splitlines():
            self._keep(json.loads(line))

    def has(self, clip: str, arm: str) -> bool:
        """Whether an arm of a clip was answered."""
        return arm in self.answers.get(clip, {})

    def add(self, clip: str, arm: str, structure: Structure | None) -> None:
        """Append an answer."""
        row = {"clip": clip, "arm": arm, "structure": structure}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        self._keep(row)

    def _keep(self, row: Mapping[str, Any]) -> None:
        self.answers.setdefault(row["clip"], {})[row["arm"]] = row["structure"]


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

    def run(self, clips: Iterator[ClipFrames]) -> None:
        """Ask about all arms of the clips.

        As many groups of `model.batch` clips are open as the model takes calls at the same time; a
        group is decoded only when one is done.

        Raises:
            ChatError: the model can answer nothing.
        """
        open_groups: deque[Future[None]] = deque()
        with ThreadPoolExecutor(self.model.parallel) as pool:
            try:
                while group := list(islice(clips, self.model.batch)):
                    open_groups.append(pool.submit(self._ask_group, group))
                    if len(open_groups) >= self.model.parallel:
                        open_groups.popleft().result()
                while open_groups:
                    open_groups.popleft().result()
            except BaseException:
                self._is_stopped = True  # open groups end with the answer that they wait for
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask_group(self, group: Sequence[ClipFrames]) -> None:
        for arm in ARMS:
            pending = [each for each in group if not self.answers.has(each.clip.id, arm)]
            if pending and not self._is_stopped:
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
