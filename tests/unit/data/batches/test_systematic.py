import time

import numpy as np
import pytest

from wanctl.data.batches.systematic import SystematicSampler


def test_shares_are_those_of_the_weights_even_where_a_batch_is_half_of_the_clips():
    """Drawing one after the other without putting back gave 0.266 in place of 0.372."""
    weights = np.array([2.37, 1, 1, 1, 1])
    share = weights / weights.sum()
    keys = 1000
    batches = [SystematicSampler(weights, 3, (key,)).batch(0) for key in range(keys)]
    counts = np.bincount(np.concatenate(batches), minlength=5)
    # Of independent batches; 2.37 / 6.37 is above a third, so that this clip comes once or twice.
    expected = 3 * share
    deviation = np.sqrt(keys * (expected % 1) * (1 - expected % 1))
    assert np.abs((counts - keys * expected) / deviation).max() < 4.2  # p = 1e-4 for five shares
    many = SystematicSampler(weights, 3, (0,)).counts(20_000) / 60_000
    assert many == pytest.approx(share, abs=0.004)


def test_an_epoch_shows_each_clip_as_often_as_it_weighs():
    weights = np.repeat([0.5, 1.0, 2.5], [40, 40, 20])
    sampler = SystematicSampler(weights, 8, (3,))
    expected = weights / weights.sum() * sampler.epoch_batches * 8
    before = np.zeros(100)
    for epoch in range(1, 6):
        seen = sampler.counts(epoch * sampler.epoch_batches)
        assert np.abs(seen - before - expected).max() < 1
        before = seen


def test_a_clip_occurs_once_in_a_batch_unless_its_share_is_larger():
    weights = np.array([4.0, *[1.0] * 28])  # 4 of 32: just a sample of each batch of 8
    sampler = SystematicSampler(weights, 8, (0,))
    assert all(len(set(sampler.batch(number).tolist())) == 8 for number in range(200))
    few = SystematicSampler([1.0, 1.0, 1.0], 8, (0,))
    for number in range(50):
        assert sorted(np.bincount(few.batch(number), minlength=3)) in ([2, 3, 3], [2, 2, 4])


def test_a_batch_depends_on_its_number_alone_and_epochs_differ():
    one, other = (SystematicSampler(np.ones(12), 4, (7, 1)) for _ in range(2))
    forwards = [one.batch(number).tolist() for number in range(9)]
    assert [other.batch(number).tolist() for number in reversed(range(9))] == forwards[::-1]
    assert forwards[:3] != forwards[3:6]
    assert forwards[0] != SystematicSampler(np.ones(12), 4, (7, 2)).batch(0).tolist()
    counts = np.bincount(np.concatenate(forwards[:7]), minlength=12)
    assert np.array_equal(one.counts(7), counts)


def test_partners_change_from_epoch_to_epoch():
    sampler = SystematicSampler(np.ones(20), 2, (0,))
    pairs = {tuple(sorted(sampler.batch(number).tolist())) for number in range(200)}
    assert len(pairs) > 100  # of 190; 10 if the order stayed


def test_a_draw_does_not_cost_a_pass_over_the_clips():
    """A draw of one batch out of a million clips took 92 ms; it takes some 0.05 ms."""
    sampler = SystematicSampler(np.ones(1_000_000), 8, (0,))
    sampler.batch(0)
    started = time.process_time()
    for number in range(200):
        sampler.batch(number)
    assert (time.process_time() - started) / 200 < 0.0015
