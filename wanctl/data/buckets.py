"""Which training shapes a clip can fill, and which windows each training step samples.

Everything here is a pure function of its arguments: step k of a resumed run samples what step k
of an uninterrupted one samples, without any saved state.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from wanctl.model.shapes import floor_frames, valid_frames

# Areas within this factor are one size: 480x832 and 544x544, but not 480p and 720p (2.3).
SIZE_CLASS = 1.5


class BucketLike(Protocol):
    """One training shape; a recipe's bucket is one."""

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def probability(self) -> float: ...  # noqa: D102
    @property
    def from_step(self) -> int: ...  # noqa: D102


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
    bucket: BucketLike
    windows: list[PlannedWindow]


def bucket_name(bucket: BucketLike) -> str:
    """Frames, height and width, as selections record it: `17x256x256`."""
    return f"{bucket.frames}x{bucket.height}x{bucket.width}"


def clip_buckets(
    buckets: Sequence[BucketLike], num_frames: int, height: int, width: int
) -> list[int]:
    """Indices of the buckets a clip serves: of each frame count and size class the best shape.

    A clip fills a shape when it has the frames and covers height and width without being
    enlarged. The best shape is the one that crops least away, then the largest, then the first of
    the list. Shapes are taken from the best on; one whose area is within a factor of 1.5 of a
    shape that is already taken is left out, e.g. 832x480 beside 480x832. So a 1080p clip serves
    720p and 480p, each in its own aspect ratio where the recipe has that.
    """
    taken: list[int] = []
    for _, _, negative in sorted(_fitting(buckets, num_frames, height, width), reverse=True):
        bucket = buckets[-negative]
        if not any(_same_class(bucket, buckets[other]) for other in taken):
            taken.append(-negative)
    return sorted(taken)


def clip_bucket(
    buckets: Sequence[BucketLike], num_frames: int, height: int, width: int
) -> BucketLike | None:
    """The longest bucket a clip serves, the best shape if several sizes have that length.

    None where it serves none; `why_no_bucket` says why.
    """
    ranks = _fitting(buckets, num_frames, height, width)
    best = max(ranks, key=lambda rank: (buckets[-rank[2]].frames, rank), default=None)
    return None if best is None else buckets[-best[2]]


def _fitting(
    buckets: Sequence[BucketLike], num_frames: int, height: int, width: int
) -> list[tuple[float, int, int]]:
    """Share of the frame that is kept, area and negative index of each bucket a clip can fill."""
    ranks = []
    for index, bucket in enumerate(buckets):
        if bucket.frames > num_frames or bucket.height > height or bucket.width > width:
            continue
        scale = max(bucket.height / height, bucket.width / width)
        area = bucket.height * bucket.width
        ranks.append((round(area / (height * width * scale**2), 6), area, -index))
    return ranks


def _same_class(one: BucketLike, other: BucketLike) -> bool:
    """Whether two shapes have the same frame count and about the same area."""
    areas = sorted((one.height * one.width, other.height * other.width))
    return one.frames == other.frames and areas[1] <= SIZE_CLASS * areas[0]


def why_no_bucket(buckets: Sequence[BucketLike], num_frames: int, height: int, width: int) -> str:
    """Why a clip serves no bucket: the size it has and the smallest that is needed."""
    shortest = min(bucket.frames for bucket in buckets)
    if num_frames < shortest:
        return f"{num_frames} frames, the shortest bucket needs {shortest}"
    lasting = [bucket for bucket in buckets if bucket.frames <= num_frames]
    small = min(lasting, key=lambda bucket: bucket.height * bucket.width)
    return (
        f"{width}x{height} pixels with {num_frames} frames, the smallest bucket of that length "
        f"needs {small.width}x{small.height}"
    )


class BatchPlan:
    """Batches of a run, as a function of (seed, step, micro).

    Args:
        buckets: the shapes; those that no clip can fill are never sampled.
        clips: the training clips.
        seed: of the run.

    Attributes:
        members: per bucket, indices of the clips that serve it.

    Raises:
        ValueError: no clip serves any bucket.
    """

    def __init__(
        self, buckets: Sequence[BucketLike], clips: Sequence[ClipShape], *, seed: int
    ) -> None:
        self._buckets = list(buckets)
        self._clips = list(clips)
        self._seed = seed
        self.members: list[list[int]] = [[] for _ in buckets]
        for number, clip in enumerate(clips):
            for index in clip_buckets(buckets, clip.num_frames, clip.height, clip.width):
                if clip.weight > 0:
                    self.members[index].append(number)
        if not any(self.members):
            raise ValueError("no clip serves any bucket")
        # Where no bucket may be sampled at first, the earliest one is.
        served = [b.from_step for b, m in zip(buckets, self.members, strict=True) if m]
        self._first_step = min(served)

    def batch(self, step: int, micro: int = 0) -> PlannedBatch:
        """The bucket, clips and window starts of one micro-batch.

        A clip occurs at most once in a batch if the bucket has enough clips.
        """
        random = np.random.Generator(
            np.random.Philox(np.random.SeedSequence((self._seed, step, micro)))
        )
        index = int(random.choice(len(self._buckets), p=self._chances(step)))
        bucket, members = self._buckets[index], self.members[index]
        weights = np.array([self._clips[m].weight for m in members], dtype=np.float64)
        chosen = random.choice(
            len(members),
            size=bucket.batch_size,
            replace=bucket.batch_size > len(members),
            p=weights / weights.sum(),
        )
        windows = []
        for member in chosen:
            clip = members[int(member)]
            last = self._clips[clip].num_frames - bucket.frames
            windows.append(PlannedWindow(clip, int(random.integers(0, last + 1))))
        return PlannedBatch(index, bucket, windows)

    def _chances(self, step: int) -> np.ndarray:
        reached = max(step, self._first_step)
        chances = np.array(
            [
                bucket.probability if members and bucket.from_step <= reached else 0.0
                for bucket, members in zip(self._buckets, self.members, strict=True)
            ]
        )
        return chances / chances.sum()


def spread_windows(num_frames: int, frames: int, count: int) -> list[int]:
    """At most `count` distinct starts, evenly spaced over a clip, both ends included."""
    last = num_frames - frames
    if count == 1:
        return [last // 2]
    return sorted({round(i * last / (count - 1)) for i in range(count)})


def holdout(ids: Sequence[str], sources: Sequence[str], share: float) -> list[bool]:
    """Choose the clips that are held out of training.

    The choice depends on the clip's id alone, so it stays when the set grows; but a source does
    not lose its last clip, and at least one clip is held out where `share` is positive and some
    source has two clips. Linear in the number of clips, but for one sort.

    Args:
        ids: clip ids.
        sources: source of each clip.
        share: expected share of held-out clips, 0 to 1.
    """
    if share <= 0:
        return [False] * len(ids)
    draws = [int(hashlib.sha256(i.encode()).hexdigest()[:8], 16) / 2**32 for i in ids]
    remaining = Counter(sources)
    held_out = [False] * len(ids)
    any_held_out = False
    for index in sorted(range(len(ids)), key=lambda i: (draws[i], ids[i])):
        chosen = draws[index] < share or not any_held_out
        if chosen and remaining[sources[index]] > 1:
            remaining[sources[index]] -= 1
            held_out[index] = any_held_out = True
    return held_out


def bucket_problems(
    buckets: Sequence[BucketLike], *, temporal_stride: int, spatial_multiple: int
) -> Iterator[tuple[str, str]]:
    """Sizes that the networks cannot take, before anything is decoded or encoded.

    Args:
        buckets: training shapes.
        temporal_stride: of the VAE: frames must be a multiple of it, plus one.
        spatial_multiple: height and width must be multiples of it: the VAE's spatial stride, times
            the transformer's patch where one is trained.

    Yields:
        (path below `buckets`, e.g. `0.height`; what was got, what is allowed, the nearest sizes).
    """
    for index, bucket in enumerate(buckets):
        if not valid_frames(bucket.frames, temporal_stride):
            low = floor_frames(bucket.frames, temporal_stride)
            near = [low, low + temporal_stride]
            rule = f"must be {temporal_stride}n+1"
            yield f"{index}.frames", f"got {bucket.frames}; {rule}, nearest: {_either(near)}"
        for side in ("height", "width"):
            size = getattr(bucket, side)
            if size % spatial_multiple:
                low = size // spatial_multiple * spatial_multiple
                near = [each for each in (low, low + spatial_multiple) if each]
                rule = f"must be a multiple of {spatial_multiple}"
                yield f"{index}.{side}", f"got {size}; {rule}, nearest: {_either(near)}"


def _either(sizes: Sequence[int]) -> str:
    return " or ".join(map(str, sizes))
