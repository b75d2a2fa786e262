"""The structured captioner's run over the parts of a data set. Start here.

Three kinds of threads work at the same time: one decodes clips ahead (`feeder.py`), some ask the
models (`model_threads.py`), and the main thread builds the steps of each clip, gives them the
answers, and writes results to the journal as soon as a clip is complete.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from wanctl.atomic import WriteError
from wanctl.caption.pipeline.decode import FrameSource
from wanctl.caption.pipeline.feeder import Budget, ClipReady, Feeder
from wanctl.caption.pipeline.model_threads import ModelThreads
from wanctl.caption.pipeline.part_work import ModelCounts, PartWork
from wanctl.caption.structured.clip_steps import Ask, ClipSteps, Role, StepsFactory
from wanctl.log import Bar
from wanctl.video.workers.worker_pool import Failure
from wanctl.vlm.chat import ChatAnswer, ChatModel

# Open clips per place of the models: enough that a place which falls free finds a request, few
# enough that clips without frames do not fill the memory.
_CLIPS_PER_PLACE = 4
_MIN_CLIPS = 16


class _Failed:
    """A thread failed."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _FeederEnded:
    """There are no more clips."""


class _OpenClip:
    """A clip whose requests are being answered."""

    def __init__(self, ready: ClipReady, steps: ClipSteps) -> None:
        self.ready, self.steps = ready, steps


class ModelRun:
    """Captions the clips of parts.

    Args:
        models: who answers which requests; one model may have both roles.
        factory: makes the steps of a clip.
        source: of frames; it is closed at the end.
        max_bytes: of frames that wait for the model or are being looked at.

    Attributes:
        counts: of this run.
        seconds: from the start of the run to its end.
    """

    def __init__(
        self,
        models: Mapping[Role, ChatModel],
        factory: StepsFactory,
        source: FrameSource,
        max_bytes: int,
    ) -> None:
        self.counts = ModelCounts()
        self.seconds = 0.0
        self._factory, self._source = factory, source
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        by_model = {id(model): self._threads_of(model) for model in models.values()}
        self._threads = {role: by_model[id(model)] for role, model in models.items()}
        self._all_threads = list(by_model.values())
        places = sum(each.places for each in self._all_threads)
        self._budget = Budget(max_bytes, max(_MIN_CLIPS, _CLIPS_PER_PLACE * places))
        self._open: dict[str, _OpenClip] = {}
        self._parts: list[PartWork] = []
        self._fed = False
        self._started_s = time.monotonic()

    @property
    def occupancy(self) -> dict[str, tuple[int, float]]:
        """Model -> number of its places, and the share of them that was in use."""
        return {each.model.name: (each.places, each.occupancy.share) for each in self._all_threads}

    def run(self, parts: Iterable[PartWork], bar: Bar) -> None:
        """Ask about every clip that lacks something; finished work is in the tables at the end.

        Args:
            parts: opened lazily, one after the other.
            bar: advances by the clips of the parts, also those that lack nothing.

        Raises:
            ChatError: a model cannot answer; what was answered before is kept.
            WriteError: the disk is full; what was written before is kept.
            KeyboardInterrupt: as above.
        """
        self._started_s = time.monotonic()
        feeder = Feeder(parts, self._factory, self._source, self._budget)
        threading.Thread(target=self._feed, args=(feeder,), daemon=True, name="feed").start()
        for each in self._all_threads:
            each.start()
        try:
            while not (self._fed and not self._open):
                self._handle(self._events.get(), bar)
        except BaseException:
            self._stop()
            self._keep_finished(bar)
            raise
        finally:
            self.seconds = time.monotonic() - self._started_s
            self._stop()

    def _threads_of(self, model: ChatModel) -> ModelThreads:
        return ModelThreads(model, self._events.put, lambda error: self._events.put(_Failed(error)))

    def _feed(self, feeder: Feeder) -> None:
        try:
            feeder.clips(self._events.put)
        except BaseException as error:  # the main thread raises it
            self._events.put(_Failed(error))
        else:
            self._events.put(_FeederEnded())

    def _stop(self) -> None:
        """End decoding at once; requests that are under way end by themselves, or with the process.

        Idempotent.
        """
        for each in self._all_threads:
            each.stop()
        self._budget.close()
        self._source.close()

    def _keep_finished(self, bar: Bar) -> None:
        """Journal the answers that have arrived, and bring the journals into the tables."""
        with suppress(WriteError):  # a full disk: the journals stay for the next run
            while not self._events.empty():
                event = self._events.get()
                if isinstance(event, list):
                    self._take(event, bar)
        for work in self._parts:
            with suppress(WriteError):
                work.compact()

    def _handle(self, event: Any, bar: Bar) -> None:
        match event:
            case PartWork():
                self._parts.append(event)
                bar.advance(event.num_clips - event.pending)
                self._close_part(event)
            case ClipReady():
                self._begin(event, bar)
            case list():
                self._take(event, bar)
            case _FeederEnded():
                self._fed = True
            case _Failed():
                raise event.error

    def _begin(self, ready: ClipReady, bar: Bar) -> None:
        if isinstance(ready.frames, Failure):
            self.counts.failures += 1
            ready.work.fail(ready.clip_id, ready.frames)
            self._end(ready, bar)
            return
        steps = self._factory.build(ready.work.task(ready.clip_id, ready.frames))
        clip = self._open[ready.clip_id] = _OpenClip(ready, steps)
        self._ask(clip, steps.start(), is_follow_up=False)
        self._finish_if_done(clip, bar)

    def _take(self, answers: list[ChatAnswer], bar: Bar) -> None:
        for answer in answers:
            clip = self._open[answer.id.partition("/")[0]]
            self._ask(clip, clip.steps.take(answer), is_follow_up=True)
            if not self._finish_if_done(clip, bar):
                clip.ready.work.keep(answer)

    def _ask(self, clip: _OpenClip, asks: Sequence[Ask], *, is_follow_up: bool) -> None:
        """Ask what no earlier run got an answer to."""
        waiting = deque(asks)
        while waiting:
            ask = waiting.popleft()
            if answer := clip.ready.work.answer(ask.request.id):
                waiting.extend(clip.steps.take(answer))
            else:
                # a structure that is asked for again comes before new clips
                first = is_follow_up and ask.role == "vision"
                self._threads[ask.role].put(ask.request, first=first)

    def _finish_if_done(self, clip: _OpenClip, bar: Bar) -> bool:
        if (result := clip.steps.result) is None:
            return False
        del self._open[result.clip_id]
        clip.ready.work.record(result)
        self.counts.add(result)
        self._end(clip.ready, bar)
        return True

    def _end(self, ready: ClipReady, bar: Bar) -> None:
        self._budget.release(ready.num_bytes)
        seconds = time.monotonic() - self._started_s
        bar.advance(note=f"{self.counts.output_tokens / max(seconds, 1e-9):.4g} tokens/s")
        self._close_part(ready.work)

    def _close_part(self, work: PartWork) -> None:
        if not work.pending:
            work.compact()
            self._parts.remove(work)
