"""Which outputs are made together."""

import pytest

from wanctl.sample.denoise.batches import BATCH_TOKENS, batches


def names(groups):
    return ["".join(group) for group in groups]


@pytest.mark.parametrize(
    ("tokens", "most", "expected"),
    [
        (1, None, ["aaaaa", "bb"]),
        (BATCH_TOKENS // 2, None, ["aa", "aa", "a", "bb"]),
        (BATCH_TOKENS, None, ["a"] * 5 + ["b"] * 2),
        (10 * BATCH_TOKENS, None, ["a"] * 5 + ["b"] * 2),
        (1, 1, ["a"] * 5 + ["b"] * 2),
        (10 * BATCH_TOKENS, 4, ["aaaa", "a", "bb"]),
    ],
)
def test_equal_kinds_share_a_batch_as_long_as_it_pays(tokens, most, expected):
    jobs = "abaabaa"
    assert names(batches(jobs, lambda job: job, lambda job: tokens, most)) == expected


def test_kinds_come_in_their_order_and_nothing_is_lost():
    jobs = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)]
    made = list(batches(jobs, lambda job: job[0], lambda job: 1))
    assert made == [[("a", 1), ("a", 3)], [("b", 2), ("b", 5)], [("c", 4)]]
