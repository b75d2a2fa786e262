"""Exported clips as windows: which are drawn, which are measured, and their pixels."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wanctl.data.buckets import (
    BatchPlan,
    BucketLike,
    ClipShape,
    bucket_name,
    clip_buckets,
    spread_windows,
)
from wanctl.data.clips import ClipReader
from wanctl.data.export import ClipFile
from wanctl.train.inputs.windows import ClipWindow, Shape
from wanctl.train.rng import MicrobatchIndex

# Below this the decoded clips are kept in memory; decoding would be most of a small step.
RESIDENT_BYTES = 2**30
EVAL_WINDOWS_PER_BUCKET = 4
# Windows the latents' statistics are measured on, where any window may be drawn.
LISTED_PER_CLIP = 4


@dataclass(frozen=True)
class TrainingClip:
    """One clip of the training set.

    Attributes:
        id: in the data set.
        footage: the file it was cut from.
        shape: frames at the training rate, pixels after the crop, weight.
        files: (height, width) -> exported file.
        pixels: changes when the same clip is cropped or resampled otherwise.
    """

    id: str
    footage: str
    shape: ClipShape
    files: Mapping[tuple[int, int], ClipFile]
    pixels: str


class ClipSet:
    """A `Footage` over exported clips.

    Args:
        members: the clips.
        held: for each, whether it is kept from training.
        buckets: training shapes.
        seed: of the batches.
        windows_per_clip: draw only these many evenly spaced windows; None: any window.

    Raises:
        ValueError: no training clip serves a bucket.
    """

    def __init__(
        self,
        members: Sequence[TrainingClip],
        held: Sequence[bool],
        buckets: Sequence[BucketLike],
        seed: int,
        windows_per_clip: int | None,
    ) -> None:
        self.buckets = list(buckets)
        self.training = [m for m, h in zip(members, held, strict=True) if not h]
        self.measured = [m for m, h in zip(members, held, strict=True) if h]
        self.windows_per_clip = windows_per_clip
        self._plan = BatchPlan(buckets, [m.shape for m in self.training], seed=seed)
        files = {(m.id, size): file for m in members for size, file in m.files.items()}
        self._numbers = {key: number for number, key in enumerate(files)}
        self._files = list(files.values())
        self._reader = ClipReader(self._files)
        self._fits = sum(f.num_frames * f.height * f.width * 3 for f in self._files)
        self._resident: dict[int, np.ndarray] = {}
        # The batch thread and an evaluation on the main thread may read at the same time.
        self._lock = threading.Lock()

    @property
    def held_out(self) -> bool:
        """Whether some clips are kept from training."""
        return bool(self.measured)

    def sample_windows(self, microbatch: MicrobatchIndex) -> list[ClipWindow]:
        """Windows of one micro-batch, all of one bucket."""
        batch = self._plan.batch(microbatch.step, microbatch.micro)
        return [self._window(self.training[w.clip], batch.bucket, w.start) for w in batch.windows]

    def training_windows(self) -> list[ClipWindow]:
        """Evenly spaced windows of every training clip in every bucket it serves."""
        count = self.windows_per_clip or LISTED_PER_CLIP
        return [
            self._at(self.training[number], bucket, start)
            for bucket, numbers in zip(self.buckets, self._plan.members, strict=True)
            for number in numbers
            for start in spread_windows(
                self.training[number].shape.num_frames, bucket.frames, count
            )
        ]

    def eval_windows(self) -> list[ClipWindow]:
        """The middle of up to four clips per bucket: held-out clips if there are any."""
        windows = []
        for index, bucket in enumerate(self.buckets):
            serving = [m for m in self.measured or self.training if index in self._serves(m)]
            for member in serving[:: max(1, len(serving) // EVAL_WINDOWS_PER_BUCKET)]:
                start = spread_windows(member.shape.num_frames, bucket.frames, 1)[0]
                windows.append(self._at(member, bucket, start))
                if sum(w.shape == _size(bucket) for w in windows) == EVAL_WINDOWS_PER_BUCKET:
                    break
        return windows

    def read(self, window: ClipWindow) -> np.ndarray:
        """(T, H, W, 3) uint8; from memory where all clips together are small."""
        frames, height, width = window.shape
        number = self._numbers[window.clip, (height, width)]
        with self._lock:
            if self._fits > RESIDENT_BYTES:
                return self._reader.read(number, window.start, frames)
            if number not in self._resident:
                whole = self._files[number].num_frames
                self._resident[number] = self._reader.read(number, 0, whole)
            return self._resident[number][window.start : window.start + frames]

    def describe(self) -> list[str]:
        """One line per bucket: clips that are trained on, clips that are held out."""
        lines = []
        for index, (bucket, numbers) in enumerate(
            zip(self.buckets, self._plan.members, strict=True)
        ):
            held = sum(index in self._serves(member) for member in self.measured)
            text = f"bucket {bucket_name(bucket)}: {len(numbers)} clips, {held} held out"
            lines.append(text if numbers else f"{text}; never drawn")
        return lines

    def _serves(self, member: TrainingClip) -> list[int]:
        shape = member.shape
        return clip_buckets(self.buckets, shape.num_frames, shape.height, shape.width)

    def _window(self, member: TrainingClip, bucket: BucketLike, start: int) -> ClipWindow:
        """The drawn window, or the listed one that stands for this part of the clip."""
        if self.windows_per_clip is not None:
            last = member.shape.num_frames - bucket.frames
            listed = spread_windows(member.shape.num_frames, bucket.frames, self.windows_per_clip)
            start = listed[start * len(listed) // (last + 1)]
        return self._at(member, bucket, start)

    def _at(self, member: TrainingClip, bucket: BucketLike, start: int) -> ClipWindow:
        return ClipWindow(member.id, _size(bucket), start, member.pixels)


def _size(bucket: BucketLike) -> Shape:
    return Shape(bucket.frames, bucket.height, bucket.width)
