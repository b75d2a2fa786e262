import time
from collections import Counter
from typing import NamedTuple

import pytest

from wanctl.data.buckets import (
    BatchPlan,
    ClipShape,
    bucket_name,
    bucket_problems,
    clip_bucket,
    clip_buckets,
    holdout,
    spread_windows,
    why_no_bucket,
)


class Shape(NamedTuple):
    frames: int
    height: int
    width: int
    batch_size: int = 1
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


CLIPS = [ClipShape(20, 360, 640), ClipShape(50, 360, 640, 3.0), ClipShape(17, 640, 360)]


def test_a_step_has_the_same_batch_in_any_order_of_calls():
    plan, other = (BatchPlan(BUCKETS, CLIPS, seed=7) for _ in range(2))
    draws = [plan.batch(step, micro) for step in range(20) for micro in range(2)]
    assert [other.batch(step, micro) for step in reversed(range(20)) for micro in (1, 0)] == draws[
        ::-1
    ]
    assert BatchPlan(BUCKETS, CLIPS, seed=8).batch(0) != plan.batch(0)


def test_batches_follow_probabilities_and_weights_and_stay_inside_the_clips():
    plan = BatchPlan(BUCKETS, CLIPS, seed=0)
    drawn, clips = Counter(), Counter()
    for step in range(2000):
        batch = plan.batch(step)
        drawn[batch.index] += 1
        assert len(batch.windows) == batch.bucket.batch_size
        for clip, start in batch.windows:
            assert 0 <= start <= CLIPS[clip].num_frames - batch.bucket.frames
            assert clip in plan.members[batch.index]
        if batch.index == 0:
            clips.update(window.clip for window in batch.windows)
    assert drawn[0] / 2000 == pytest.approx(0.5, abs=0.04)
    assert clips[1] / clips.total() == pytest.approx(0.6, abs=0.04)


def test_a_batch_does_not_repeat_clips_while_there_are_enough():
    clips = [ClipShape(20, 360, 640) for _ in range(5)]
    plan = BatchPlan([WIDE], clips, seed=0)
    assert all(len({w.clip for w in plan.batch(s).windows}) == 2 for s in range(50))


def test_a_plan_without_clips_is_refused():
    with pytest.raises(ValueError, match="no clip serves any bucket"):
        BatchPlan([LONG], CLIPS[:1], seed=0)


def test_windows_are_spread_from_end_to_end():
    assert spread_windows(33, 17, 3) == [0, 8, 16]
    assert spread_windows(18, 17, 8) == [0, 1]
    assert spread_windows(33, 17, 1) == [8]


def test_held_out_clips_stay_held_out_as_the_set_grows():
    ids = [f"clip{i}" for i in range(400)]
    sources = [f"source{i // 20}" for i in range(400)]
    few = dict(zip(ids[:200], holdout(ids[:200], sources[:200], 0.1), strict=True))
    many = dict(zip(ids, holdout(ids, sources, 0.1), strict=True))
    assert all(many[i] == held for i, held in few.items())
    assert 0.05 < sum(many.values()) / 400 < 0.15


def test_no_source_loses_its_last_clip():
    assert holdout(["a", "b", "c"], ["x", "y", "z"], 0.9) == [False] * 3
    assert sum(holdout(["a", "b", "c"], ["x"] * 3, 0.99)) == 2
    assert sum(holdout(["a", "b"], ["x"] * 2, 0.001)) == 1
    assert holdout(["a", "b"], ["x"] * 2, 0) == [False] * 2


def test_a_bucket_waits_for_its_step_and_the_first_one_never_does():
    late = LONG._replace(from_step=5)
    clips = [ClipShape(40, 64, 96)] * 4
    plan = BatchPlan([WIDE, late], clips, seed=0)
    drawn = [plan.batch(step).index for step in range(60)]
    assert set(drawn[:5]) == {0}
    assert set(drawn[5:]) == {0, 1}
    alone = BatchPlan([late], clips, seed=0)
    assert alone.batch(0).index == 0


def test_holdout_is_linear_in_the_number_of_clips():
    """200,000 clips of 200,000 sources took hours with one `count` per source."""
    number = 200_000
    ids = [f"clip{i}" for i in range(number)]
    started = time.process_time()
    assert not any(holdout(ids, ids, 0.1))
    assert 0.09 < sum(holdout(ids, [f"source{i // 5}" for i in range(number)], 0.1)) / number < 0.11
    assert time.process_time() - started < 10


def test_sizes_that_the_networks_cannot_take_are_named_with_the_nearest_ones():
    buckets = [Shape(17, 64, 96), Shape(18, 48, 16)]
    problems = dict(bucket_problems(buckets, temporal_stride=4, spatial_multiple=32))
    assert problems == {
        "1.frames": "got 18; must be 4n+1, nearest: 17 or 21",
        "1.height": "got 48; must be a multiple of 32, nearest: 32 or 64",
        "1.width": "got 16; must be a multiple of 32, nearest: 32",
    }
    assert not [*bucket_problems(buckets[:1], temporal_stride=4, spatial_multiple=32)]
