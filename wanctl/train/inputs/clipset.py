"""Windows of exported clips: those of a micro-batch, those of an evaluation, and their frames."""

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wanctl.data.batches.plan import BatchPlan, ClipShape, spread_windows
from wanctl.data.buckets import TrainingBucket, bucket_name, clip_buckets
from wanctl.data.clips import ClipReader
from wanctl.data.export import ClipFile
from wanctl.train.inputs.windows import ClipWindow, Shape
from wanctl.train.rng import MicrobatchIndex

# Below this size decoded clips stay in memory: decoding would take most of a small step.
MAX_DECODED_BYTES = 2**30
EVAL_WINDOWS_PER_BUCKET = 4
# Windows per clip for the statistics of latents, where any window may be sampled.
LISTED_PER_CLIP = 4


@dataclass(frozen=True)
class TrainingClip:
    """One clip of the training set.

    Attributes:
        id: of the clip in the data set.
        footage: the source file it was cut from.
        shape: frames at the training rate, pixels after the crop, weight.
        files: (height, width) -> exported file.
        pixels: hash of the crop, the kept span and the frame rate.
    """

    id: str
    footage: str
    shape: ClipShape
    files: Mapping[tuple[int, int], ClipFile]
    pixels: str


class ClipSet:
    """A `Footage` over exported clips.

    Args:
        clips: the clips.
        held_out: for each, whether it is held out of training.
        buckets: training shapes.
        seed: of the batches.
        ranks: processes that have batches of their own.
        accumulate: micro-batches per step and process.
        windows_per_clip: sample from this many evenly spaced windows; None: from all.

    Raises:
        ValueError: no training clip serves a bucket.
    """

    def __init__(
        self,
        clips: Sequence[TrainingClip],
        held_out: Sequence[bool],
        buckets: Sequence[TrainingBucket],
        *,
        seed: int,
        ranks: int,
        accumulate: int,
        windows_per_clip: int | None,
    ) -> None:
        self.buckets = list(buckets)
        self.seed = seed
        self.microbatches_per_step = ranks * accumulate
        pairs = list(zip(clips, held_out, strict=True))
        self.training = [clip for clip, held in pairs if not held]
        self.evaluation = [clip for clip, held in pairs if held]
        self.windows_per_clip = windows_per_clip
        shapes = [clip.shape for clip in self.training]
        self._plan = BatchPlan(buckets, shapes, seed=seed, ranks=ranks, accumulate=accumulate)
        files = {(clip.id, size): file for clip in clips for size, file in clip.files.items()}
        self._file_index = {key: number for number, key in enumerate(files)}
        self._files = list(files.values())
        self._reader = ClipReader(self._files)
        self._decoded_bytes = sum(f.num_frames * f.height * f.width * 3 for f in self._files)
        self._decoded: dict[int, np.ndarray] = {}
        # The batch thread and an evaluation on the main thread may read at the same time.
        self._lock = threading.Lock()

    @property
    def held_out(self) -> bool:
        """Whether some clips are held out of training."""
        return bool(self.evaluation)

    def sample_windows(self, microbatch: MicrobatchIndex) -> list[ClipWindow]:
        """Windows of one micro-batch, all of one bucket."""
        batch = self._plan.batch(microbatch.step, microbatch.micro)
        return [self._sampled(self.training[w.clip], batch.bucket, w.start) for w in batch.windows]

    def largest_windows(self) -> list[ClipWindow]:
        """A batch of the bucket with the most pixels per batch, of its first clips."""
        sizes = [math.prod(_size(bucket)) * bucket.batch_size for bucket in self.buckets]
        served = [index for index, members in enumerate(self.members) if members]
        largest = max(served, key=lambda index: sizes[index])
        bucket = self.buckets[largest]
        clips = itertools.islice(itertools.cycle(self.members[largest]), bucket.batch_size)
        return [self._sampled(self.training[clip], bucket, 0) for clip in clips]

    @property
    def members(self) -> list[list[int]]:
        """Per bucket, indices in `training` of the clips that serve it."""
        return self._plan.members

    def bucket(self, step: int, micro: int) -> TrainingBucket:
        """The bucket of a micro-batch."""
        return self._plan.bucket(step, micro)

    def counts(self, steps: int) -> list[np.ndarray]:
        """Per bucket, how often each of its `members` is sampled in the first steps."""
        return self._plan.counts(steps)

    def training_windows(self) -> list[ClipWindow]:
        """Evenly spaced windows of every training clip in every bucket it serves."""
        count = self.windows_per_clip or LISTED_PER_CLIP
        return [
            _window(self.training[number], bucket, start)
            for bucket, numbers in zip(self.buckets, self._plan.members, strict=True)
            for number in numbers
            for start in spread_windows(
                self.training[number].shape.num_frames, bucket.frames, count
            )
        ]

    def eval_windows(self) -> list[ClipWindow]:
        """The middle of up to four clips per bucket: held-out clips if there are any."""
        return self._eval_windows

    @cached_property
    def _eval_windows(self) -> list[ClipWindow]:
        windows = []
        for index, bucket in enumerate(self.buckets):
            serving = [c for c in self.evaluation or self.training if index in self._buckets_of(c)]
            for clip in serving[:: max(1, len(serving) // EVAL_WINDOWS_PER_BUCKET)]:
                start = spread_windows(clip.shape.num_frames, bucket.frames, 1)[0]
                windows.append(_window(clip, bucket, start))
                if sum(w.shape == _size(bucket) for w in windows) == EVAL_WINDOWS_PER_BUCKET:
                    break
        return windows

    def read(self, window: ClipWindow) -> np.ndarray:
        """(T, H, W, 3) uint8 RGB; from memory where all decoded clips together are small."""
        frames, height, width = window.shape
        number = self._file_index[window.clip, (height, width)]
        with self._lock:
            if self._decoded_bytes > MAX_DECODED_BYTES:
                return self._reader.read(number, window.start, frames)
            if number not in self._decoded:
                count = self._files[number].num_frames
                self._decoded[number] = self._reader.read(number, 0, count)
            return self._decoded[number][window.start : window.start + frames]

    def describe(self) -> list[str]:
        """One line per bucket: its clips, batch size, tokens and probability."""
        lines = []
        for index, (bucket, numbers) in enumerate(
            zip(self.buckets, self._plan.members, strict=True)
        ):
            held = sum(index in self._buckets_of(clip) for clip in self.evaluation)
            text = f"bucket {bucket_name(bucket)}: {len(numbers)} clips, {held} held out"
            tokens = bucket.batch_size * bucket.tokens
            drawn = (
                f"batch {bucket.batch_size} ({tokens} tokens), probability {bucket.probability:g}"
            )
            lines.append(f"{text}; {drawn if numbers else 'never drawn'}")
        return lines

    def _buckets_of(self, clip: TrainingClip) -> list[int]:
        shape = clip.shape
        return clip_buckets(self.buckets, shape.num_frames, shape.height, shape.width)

    def _sampled(self, clip: TrainingClip, bucket: TrainingBucket, start: int) -> ClipWindow:
        """The window at `start`, or the listed window of this part of the clip."""
        if self.windows_per_clip is not None:
            last = clip.shape.num_frames - bucket.frames
            listed = spread_windows(clip.shape.num_frames, bucket.frames, self.windows_per_clip)
            start = listed[start * len(listed) // (last + 1)]
        return _window(clip, bucket, start)


def _window(clip: TrainingClip, bucket: TrainingBucket, start: int) -> ClipWindow:
    return ClipWindow(clip.id, _size(bucket), start, clip.pixels)


def _size(bucket: TrainingBucket) -> Shape:
    return Shape(bucket.frames, bucket.height, bucket.width)
