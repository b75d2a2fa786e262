"""Feeds clips to the models: decoded ahead, long ones first, and never more than memory holds."""

import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from wanctl.caption.pipeline.decode import FrameSource, Tasks
from wanctl.caption.pipeline.part_work import PartWork
from wanctl.caption.structured.clip_steps import StepsFactory
from wanctl.video.frames import FrameBatch, FrameSpec
from wanctl.video.workers.worker_pool import Failure
from wanctl.vlm.chat import Frames

WINDOW = 512
"""Clips among which the longest come first, so that the last ones are short and end together."""


class ClipReady(NamedTuple):
    """A clip that can be asked about.

    Attributes:
        work: its part.
        clip_id: of the clip.
        frames: decoded; None where none are needed; the failure where they cannot be decoded.
        num_bytes: of the frames, which `Budget.release` gives back.
    """

    work: PartWork
    clip_id: str
    frames: Frames | Failure | None
    num_bytes: int


class Budget:
    """Bounds the clips that are ready or being asked about.

    Args:
        max_bytes: of their frames together; one clip may exceed it.
        max_clips: number of them.
    """

    def __init__(self, max_bytes: int, max_clips: int) -> None:
        self._max_bytes, self._max_clips = max_bytes, max_clips
        self._bytes = self._clips = 0
        self._changed = threading.Condition()
        self._closed = False

    def acquire(self, num_bytes: int) -> bool:
        """Wait until a clip of this size fits; False once the budget is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(num_bytes))
            self._clips += 1
            self._bytes += num_bytes
            return not self._closed

    def release(self, num_bytes: int) -> None:
        """Give back what a clip took."""
        with self._changed:
            self._clips -= 1
            self._bytes -= num_bytes
            self._changed.notify()

    def close(self) -> None:
        """Let all that wait end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, num_bytes: int) -> bool:
        if not self._clips:
            return True
        return self._clips < self._max_clips and self._bytes + num_bytes <= self._max_bytes


class Feeder:
    """Opens parts and decodes their clips; `clips` is meant for a thread of its own.

    Args:
        parts: opened as they are needed.
        factory: says which frames are wanted.
        source: of the frames.
        budget: is acquired for each clip before it is given out.
    """

    def __init__(
        self, parts: Iterable[PartWork], factory: StepsFactory, source: FrameSource, budget: Budget
    ) -> None:
        self._parts, self._factory, self._source = parts, factory, source
        self._budget = budget
        self._decoding: dict[int, tuple[PartWork, str]] = {}

    def clips(self, put: Any) -> None:
        """Call `put` with each part, when it is opened, and with each `ClipReady`.

        Returns when there is no clip left or the budget is closed.
        """

        def tasks() -> Tasks:
            number = 0
            for work, clip_id in self._ordered(put):
                if work.needs_frames(clip_id):
                    self._decoding[number] = work, clip_id
                    number += 1
                    row = work.row(clip_id)
                    yield row, self._spec(row)
                # Waiting here delays no frames: those that are being decoded have not acquired
                # their share yet.
                elif self._budget.acquire(0):
                    put(ClipReady(work, clip_id, None, 0))
                else:
                    return

        for number, result in self._source.read(tasks()):
            work, clip_id = self._decoding.pop(number)
            frames = self._factory.frames(result) if isinstance(result, FrameBatch) else result
            num_bytes = 0 if isinstance(frames, Failure) else sum(i.nbytes for i in frames.images)
            if not self._budget.acquire(num_bytes):
                return
            put(ClipReady(work, clip_id, frames, num_bytes))

    def _ordered(self, put: Any) -> Iterator[tuple[PartWork, str]]:
        """Clips of all parts, the longest first within each window."""

        def unordered() -> Iterator[tuple[PartWork, str]]:
            for work in self._parts:
                put(work)
                for clip_id in work.missing:
                    yield work, clip_id

        clips = unordered()
        while window := list(islice(clips, WINDOW)):
            yield from sorted(window, key=lambda each: -each[0].duration_s(each[1]))

    def _spec(self, row: dict[str, Any]) -> FrameSpec:
        return self._factory.frame_spec(row["width"], row["height"])
