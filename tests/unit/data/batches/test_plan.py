from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from wanctl.data.batches.plan import BatchPlan, ClipShape, spread_windows
from wanctl.data.buckets import TrainingBucket

IMAGE = TrainingBucket(1, 64, 96, 8, 3.0, 0, 24)
WIDE = TrainingBucket(17, 64, 96, 2, 1.0, 0, 120)
TALL = TrainingBucket(17, 96, 64, 2, 1.0, 0, 120)
LONG = TrainingBucket(33, 64, 96, 1, 1.0, 0, 216)
BUCKETS = [IMAGE, WIDE, TALL, LONG]
CLIPS = [ClipShape(20, 360, 640), ClipShape(50, 360, 640, 3.0), ClipShape(17, 640, 360)]


def plan(buckets=BUCKETS, clips=CLIPS, seed=0, ranks=1, accumulate=1):
    return BatchPlan(buckets, clips, seed=seed, ranks=ranks, accumulate=accumulate)


def test_a_step_has_the_same_batch_in_any_order_of_calls():
    one, other = (plan(seed=7, accumulate=2) for _ in range(2))
    draws = [one.batch(step, micro) for step in range(300) for micro in range(2)]
    assert [other.batch(step, micro) for step in reversed(range(300)) for micro in (1, 0)] == draws[
        ::-1
    ]
    other = plan(seed=8, accumulate=2)
    assert [other.batch(step) for step in range(9)] != [one.batch(step) for step in range(9)]


def test_batches_follow_probabilities_and_weights_and_stay_inside_the_clips():
    drawn, clips, batches = Counter(), Counter(), plan()
    for step in range(1000):
        batch = batches.batch(step)
        drawn[batch.index] += 1
        assert len(batch.windows) == batch.bucket.batch_size
        for clip, start in batch.windows:
            assert 0 <= start <= CLIPS[clip].num_frames - batch.bucket.frames
            assert clip in batches.members[batch.index]
        if batch.index == 0:
            clips.update(window.clip for window in batch.windows)
    # of 1,000 independent draws the shares would be off by 0.016
    assert [drawn[index] / 1000 for index in range(4)] == pytest.approx(
        [3 / 6, *[1 / 6] * 3], abs=4e-3
    )
    assert clips[1] / clips.total() == pytest.approx(0.6, abs=4e-3)


def test_processes_have_one_bucket_at_a_time_and_clips_of_their_own():
    clips = [ClipShape(40, 64, 96)] * 64
    batches = plan(clips=clips, ranks=4, accumulate=2)
    several = set()
    for step in range(100):
        for accumulation in range(2):
            at_once = [batches.batch(step, accumulation * 4 + rank) for rank in range(4)]
            assert len({batch.index for batch in at_once}) == 1
            seen = [window.clip for batch in at_once for window in batch.windows]
            several.add((at_once[0].index, len(set(seen)) == len(seen)))
    assert several >= {(0, True), (1, True), (3, True)}, "an epoch repeats no clip"
    pairs = {tuple(batches.batch(step, 4 * a).index for a in range(2)) for step in range(100)}
    assert len(pairs) > 4, "accumulated micro-batches draw their own buckets"


def test_with_one_bucket_two_processes_see_what_accumulation_sees():
    clips = [ClipShape(40, 64, 96)] * 9
    two, one = plan([WIDE], clips, ranks=2), plan([WIDE], clips, accumulate=2)
    assert all(two.batch(s, m) == one.batch(s, m) for s in range(50) for m in range(2))


def test_counts_are_those_of_the_batches():
    batches = plan(ranks=2, accumulate=3)
    counted = [np.zeros(len(members), dtype=int) for members in batches.members]
    for step in range(90):
        for micro in range(6):
            batch = batches.batch(step, micro)
            for window in batch.windows:
                counted[batch.index][batches.members[batch.index].index(window.clip)] += 1
    assert [each.tolist() for each in counted] == [each.tolist() for each in batches.counts(90)]


def test_a_plan_without_clips_is_refused():
    with pytest.raises(ValueError, match="no clip serves any bucket"):
        plan([LONG], CLIPS[:1])


def test_windows_are_spread_from_end_to_end():
    assert spread_windows(33, 17, 3) == [0, 8, 16]
    assert spread_windows(18, 17, 8) == [0, 1]
    assert spread_windows(33, 17, 1) == [8]


def test_a_bucket_waits_for_its_step_and_the_first_one_never_does():
    late = replace(LONG, from_step=5)
    clips = [ClipShape(40, 64, 96)] * 4
    drawn = [plan([WIDE, late], clips).batch(step).index for step in range(60)]
    assert set(drawn[:5]) == {0}
    assert set(drawn[5:]) == {0, 1}
    assert plan([late], clips).batch(0).index == 0
    later = [replace(WIDE, from_step=8), replace(LONG, from_step=12)]
    drawn = [plan(later, clips, accumulate=2).batch(step).index for step in range(60)]
    assert set(drawn[:12]) == {0}
    assert set(drawn[12:]) == {0, 1}
