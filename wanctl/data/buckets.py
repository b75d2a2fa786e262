"""Training shapes: which of them a clip can fill, and how many samples a batch of each has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wanctl.model.shapes import floor_frames, latent_frames, valid_frames

# Areas within this factor are one size: 480x832 and 544x544, but not 480p and 720p (2.3).
SIZE_CLASS = 1.5


class BucketLike(Protocol):
    """One training shape."""

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102


class BucketWithProbability(BucketLike, Protocol):
    """A training shape and how often it is drawn; a recipe's bucket is one."""

    @property
    def batch_size(self) -> int | None: ...  # noqa: D102
    @property
    def probability(self) -> float: ...  # noqa: D102
    @property
    def from_step(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class TrainingBucket:
    """A training shape with its batch size.

    Attributes:
        frames: per sample.
        height: pixels.
        width: pixels.
        batch_size: samples per micro-batch.
        probability: relative probability that a micro-batch has this shape.
        from_step: first step with it.
        tokens: of a sample.
    """

    frames: int
    height: int
    width: int
    batch_size: int
    probability: float
    from_step: int
    tokens: int


BucketT = TypeVar("BucketT", bound=BucketLike)


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
    buckets: Sequence[BucketT], num_frames: int, height: int, width: int
) -> BucketT | None:
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


def with_batch_sizes(
    buckets: Sequence[BucketWithProbability],
    tokens_per_batch: int | None,
    *,
    temporal_stride: int,
    spatial_multiple: int,
) -> list[TrainingBucket]:
    """Buckets of a recipe with the batch size of each.

    A bucket's own batch size counts; else it is the largest with at most `tokens_per_batch`
    tokens, at least 1; without that number 1.

    Args:
        buckets: training shapes.
        tokens_per_batch: of a micro-batch; None: not given.
        temporal_stride: of the VAE.
        spatial_multiple: pixels per token in height and in width.
    """

    def batch_size(bucket: BucketWithProbability, tokens: int) -> int:
        if bucket.batch_size is not None or tokens_per_batch is None:
            return bucket.batch_size or 1
        return max(1, tokens_per_batch // tokens)

    sized = []
    for bucket in buckets:
        frames, height, width = bucket.frames, bucket.height, bucket.width
        per_frame = (height // spatial_multiple) * (width // spatial_multiple)
        tokens = latent_frames(frames, temporal_stride) * per_frame
        size = batch_size(bucket, tokens)
        sized.append(
            TrainingBucket(
                frames, height, width, size, bucket.probability, bucket.from_step, tokens
            )
        )
    return sized


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
