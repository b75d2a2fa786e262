from typing import NamedTuple

import pytest

from wanctl.data.buckets import (
    bucket_name,
    bucket_problems,
    clip_bucket,
    clip_buckets,
    why_no_bucket,
    with_batch_sizes,
)


class Shape(NamedTuple):
    frames: int
    height: int
    width: int
    batch_size: int | None = 1
    probability: float = 1.0
    from_step: int = 0


IMAGE = Shape(1, 64, 96, 8, 3.0)
WIDE, TALL, LONG = Shape(17, 64, 96, 2), Shape(17, 96, 64, 2), Shape(33, 64, 96, 1)
BUCKETS = [IMAGE, WIDE, TALL, LONG]


def test_a_clip_serves_the_best_shape_of_every_length():
    assert clip_buckets(BUCKETS, 20, 360, 640) == [0, 1]
    assert clip_buckets(BUCKETS, 40, 640, 360) == [0, 2, 3]
    assert clip_bucket(BUCKETS, 40, 360, 640) is LONG
    assert bucket_name(LONG) == "33x64x96"


SIZES = [
    Shape(81, 480, 832), Shape(81, 832, 480), Shape(81, 720, 1280), Shape(81, 1280, 720),
    Shape(1, 256, 256), Shape(1, 480, 832), Shape(1, 544, 544), Shape(81, 544, 544),
]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "width", "served"),
    [
        (1080, 1920, ["1x256x256", "1x480x832", "81x480x832", "81x720x1280"]),
        (1920, 1080, ["1x256x256", "1x544x544", "81x832x480", "81x1280x720"]),
        (1080, 1080, ["1x256x256", "1x544x544", "81x544x544"]),
        (600, 1060, ["1x256x256", "1x480x832", "81x480x832"]),
    ],
)
def test_a_clip_serves_the_best_shape_of_every_size(height, width, served):
    indices = clip_buckets(SIZES, 100, height, width)
    assert sorted(bucket_name(SIZES[i]) for i in indices) == sorted(served)
    longest = clip_bucket(SIZES, 100, height, width)
    assert bucket_name(longest) in served
    turned = [SIZES[i] for i in reversed(range(len(SIZES)))]
    again = [bucket_name(turned[i]) for i in clip_buckets(turned, 100, height, width)]
    assert sorted(again) == sorted(served), "whatever the order in the recipe"


@pytest.mark.parametrize(
    ("frames", "height", "width", "reason"),
    [
        (9, 360, 640, "9 frames, the shortest bucket needs 17"),
        (20, 60, 80, "80x60 pixels with 20 frames, the smallest bucket of that length needs 96x64"),
    ],
)
def test_the_reason_why_a_clip_serves_no_bucket_is_named(frames, height, width, reason):
    assert clip_bucket(BUCKETS[1:], frames, height, width) is None
    assert why_no_bucket(BUCKETS[1:], frames, height, width) == reason


def test_batch_sizes_follow_from_tokens():
    buckets = [Shape(1, 64, 96, None), Shape(17, 64, 96, None, 2.0, 5), Shape(33, 64, 96, 3)]
    grid = {"temporal_stride": 4, "spatial_multiple": 16}
    image, video, own = with_batch_sizes(buckets, 300, **grid)
    assert (image.tokens, video.tokens, own.tokens) == (24, 5 * 24, 9 * 24)
    assert (image.batch_size, video.batch_size, own.batch_size) == (12, 2, 3)
    assert (video.probability, video.from_step) == (2.0, 5)
    assert [b.batch_size for b in with_batch_sizes(buckets, 10, **grid)] == [1, 1, 3]
    assert [b.batch_size for b in with_batch_sizes(buckets, None, **grid)] == [1, 1, 3]


def test_sizes_that_the_networks_cannot_take_are_named_with_the_nearest_ones():
    buckets = [Shape(17, 64, 96), Shape(18, 48, 16)]
    problems = dict(bucket_problems(buckets, temporal_stride=4, spatial_multiple=32))
    assert problems == {
        "1.frames": "got 18; must be 4n+1, nearest: 17 or 21",
        "1.height": "got 48; must be a multiple of 32, nearest: 32 or 64",
        "1.width": "got 16; must be a multiple of 32, nearest: 32",
    }
    assert not [*bucket_problems(buckets[:1], temporal_stride=4, spatial_multiple=32)]
