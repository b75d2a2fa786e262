"""The batches of a run: bucket, clips and window starts of each micro-batch.

Everything here is a pure function of its arguments: step k of a resumed run samples what step k
of an uninterrupted one samples, without any saved state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wanctl.data.batches.schedule import BucketSchedule, DrawnBucket
from wanctl.data.batches.systematic import SystematicSampler
from wanctl.data.buckets import TrainingBucket, clip_buckets

# Keys of the random streams beside that of `schedule.py`.
CLIPS, STARTS = 2, 3


@dataclass(frozen=True)
class ClipShape:
    """Size and weight of a clip, as the plan of batches needs them.

    Attributes:
        num_frames: at the frame rate of training.
        height: pixels, after cropping.
        width: pixels, after cropping.
        weight: relative probability to be sampled within its bucket.
    """

    num_frames: int
    height: int
    width: int
    weight: float = 1.0


class PlannedWindow(NamedTuple):
    """`bucket.frames` frames of a clip from `start` on; `clip` is its index in the plan."""

    clip: int
    start: int


@dataclass(frozen=True)
class PlannedBatch:
    """Bucket and windows of one micro-batch.

    Attributes:
        index: of the bucket in the plan's list.
        bucket: the training shape.
        windows: one per sample.
    """

    index: int
    bucket: TrainingBucket
    windows: list[PlannedWindow]


class BatchPlan:
    """Batches of a run, as a function of (seed, step, micro).

    All processes have the same bucket at the same time. Each bucket counts its batches over all
    processes and accumulation steps, and goes through its clips by weight in that order: with one
    bucket, two processes see what one process with twice the accumulation sees.

    Args:
        buckets: the shapes; those that no clip can fill are never sampled.
        clips: the training clips.
        seed: of the run.
        ranks: processes that have batches of their own.
        accumulate: micro-batches per step and process.

    Attributes:
        members: per bucket, indices of the clips that serve it.

    Raises:
        ValueError: no clip serves any bucket.
    """

    def __init__(
        self,
        buckets: Sequence[TrainingBucket],
        clips: Sequence[ClipShape],
        *,
        seed: int,
        ranks: int,
        accumulate: int,
    ) -> None:
        self._buckets = list(buckets)
        self._clips = list(clips)
        self._seed = seed
        self._ranks = ranks
        self._accumulate = accumulate
        self.members: list[list[int]] = [[] for _ in buckets]
        for number, clip in enumerate(clips):
            for index in clip_buckets(buckets, clip.num_frames, clip.height, clip.width):
                if clip.weight > 0:
                    self.members[index].append(number)
        if not any(self.members):
            raise ValueError("no clip serves any bucket")
        served = [bool(members) for members in self.members]
        self._schedule = BucketSchedule(buckets, served, seed=seed, accumulate=accumulate)
        self._samplers = [
            SystematicSampler(
                [clips[number].weight for number in members],
                bucket.batch_size,
                (seed, CLIPS, index),
            )
            for index, (bucket, members) in enumerate(zip(buckets, self.members, strict=True))
        ]

    def batch(self, step: int, micro: int = 0) -> PlannedBatch:
        """The bucket, clips and window starts of one micro-batch.

        A clip occurs at most once in a batch where the bucket's weights allow it, that is unless
        its share of them is above 1 / batch_size.

        Args:
            step: optimizer step, from 0.
            micro: accumulation index x processes + rank.
        """
        index, earlier = self._drawn(step, micro)
        bucket, members = self._buckets[index], self.members[index]
        chosen = self._samplers[index].batch(earlier * self._ranks + micro % self._ranks)
        clips = [members[member] for member in chosen.tolist()]
        last = [self._clips[clip].num_frames - bucket.frames for clip in clips]
        key = np.random.SeedSequence((self._seed, STARTS, step, micro))
        starts = np.random.Generator(np.random.Philox(key)).integers(0, last, endpoint=True)
        return PlannedBatch(index, bucket, [*map(PlannedWindow, clips, starts.tolist())])

    def bucket(self, step: int, micro: int) -> TrainingBucket:
        """The bucket of a micro-batch."""
        return self._buckets[self._drawn(step, micro).bucket]

    def counts(self, steps: int) -> list[np.ndarray]:
        """How often each of a bucket's `members` occurs in the first steps, for each bucket."""
        batches = self._schedule.counts(steps * self._accumulate) * self._ranks
        return [
            sampler.counts(int(number))
            for sampler, number in zip(self._samplers, batches, strict=True)
        ]

    def _drawn(self, step: int, micro: int) -> DrawnBucket:
        accumulation = micro // self._ranks
        assert accumulation < self._accumulate, (micro, self._ranks, self._accumulate)
        return self._schedule.bucket(step * self._accumulate + accumulation)


def spread_windows(num_frames: int, frames: int, count: int) -> list[int]:
    """At most `count` distinct starts, evenly spaced over a clip, both ends included."""
    last = num_frames - frames
    if count == 1:
        return [last // 2]
    return sorted({round(i * last / (count - 1)) for i in range(count)})
