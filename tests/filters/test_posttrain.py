"""Quotas over tables of scores whose right answer is known."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, UserError, Verdicts
from wanctl_filters.posttrain import Posttrain, fill


@pytest.mark.parametrize(
    ("budget", "shares", "supply", "expected"),
    [
        (12, [1, 1, 1], [10, 10, 10], [4, 4, 4]),
        (12, [1, 1, 1], [1, 10, 10], [1, 6, 5]),  # the last odd place goes to the first of equals
        (12, [3, 1], [10, 10], [9, 3]),
        (12, [3, 1], [4, 10], [4, 8]),
        (12, [1, 1], [2, 3], [2, 3]),  # there are no more
        (5, [1, 0], [2, 9], [2, 0]),  # nothing was asked of the second
        (7, [0.5, 0.3, 0.2], [100, 100, 100], [4, 2, 1]),
        (0, [1, 1], [5, 5], [0, 0]),
        (3, [1, 1e-9], [1, 5], [1, 2]),
    ],
)
def test_water_filling(budget, shares, supply, expected):
    assert fill(budget, shares, supply) == expected


def test_water_filling_never_gives_more_than_there_is():
    rng = np.random.default_rng(1)
    for _ in range(500):
        count = rng.integers(1, 8)
        supply = rng.integers(0, 30, count)
        shares = rng.random(count) * (rng.random(count) > 0.2)
        budget = int(rng.integers(0, 100))
        places = np.array(fill(budget, shares.tolist(), supply.tolist()))
        assert (places <= supply).all()
        assert places.sum() == min(budget, supply[shares > 0].sum())


def table(scores, categories, motion=None, dropped=()):
    """A batch after filters quality, category and motion."""
    count = len(scores)
    keep = np.ones(count, dtype=bool)
    keep[list(dropped)] = False
    everything = np.ones(count, dtype=bool)
    verdicts = {
        "quality": Verdicts(keep, lambda _: "bad", np.array(scores, dtype=float)),
        "category": Verdicts(everything, lambda _: "", label=np.array(categories, dtype=object)),
    }
    if motion is not None:
        verdicts["motion"] = Verdicts(
            everything, lambda _: "", label=np.array(motion, dtype=object)
        )
    clips = pa.table({"id": [f"{number:04d}" for number in range(count)]})
    return ClipBatch(clips, clips, np.zeros((count, 4)), verdicts)


def kept(filter_, batch):
    return np.flatnonzero(filter_.decide_many(batch).keep).tolist()


def test_top_share_in_each_category():
    scores = [9, 8, 7, 6, 1, 2, 3, 4, 5, 0]
    categories = ["cat"] * 4 + ["dog"] * 6
    assert kept(Posttrain(top=0.4, motion=None), table(scores, categories)) == [0, 1, 7, 8]
    # a short category gives its places away
    assert kept(Posttrain(top=0.8, motion=None), table(scores, ["cat", *["dog"] * 9])) == [
        0,
        1,
        2,
        3,
        5,
        6,
        7,
        8,
    ]


def test_quotas_and_dropped_clips():
    scores = list(range(20))
    categories = ["cat", "dog"] * 10
    batch = table(scores, categories, dropped=[19, 18])
    # 18 are left, 9 places: two of three for dogs, and the dropped best ones take none
    filter_ = Posttrain(top=0.5, motion=None, quotas={"dog": 2, "cat": 1})
    verdicts = filter_.decide_many(batch)
    chosen = np.flatnonzero(verdicts.label == "chosen").tolist()
    assert chosen == [7, 9, 11, 12, 13, 14, 15, 16, 17]
    assert verdicts.keep[[18, 19]].all(), "it has no say over clips that are dropped already"
    assert verdicts[0].reason == "quality 0.00 is not among the best of cat, simple motion"


def test_motion_is_split_within_categories():
    scores = [10, 9, 8, 7, 6, 5, 4, 3]
    motion = ["static"] * 4 + ["optimal"] * 4
    batch = table(scores, ["cat"] * 8, motion)
    assert kept(Posttrain(top=0.5), batch) == [0, 1, 4, 5]
    assert kept(Posttrain(top=0.5, complex_share=1), batch) == [4, 5, 6, 7]
    assert kept(Posttrain(top=0.75, complex_share=1), batch) == [0, 1, 4, 5, 6, 7]
    assert kept(Posttrain(top=0.5, complex_motion=("static",), complex_share=1), batch) == [
        0, 1, 2, 3,
    ]  # fmt: skip


def test_ties_and_unscored_clips():
    batch = table([1, 1, 1, 1, np.nan], ["cat"] * 5)
    assert Posttrain(top=0.5, motion=None).decide_many(batch).label.tolist() == [
        "chosen", "chosen", None, None, None,
    ]  # fmt: skip


def test_the_numbers_of_each_category_are_logged(caplog):
    logging.getLogger("wanctl").propagate = True
    with caplog.at_level(logging.INFO, "wanctl"):
        batch = table([3, 2, 1], ["cat", "cat", "dog"], ["optimal", "static", "static"])
        Posttrain(top=1, quotas={"cat": 1, "dog": 1, "yak": 1}).decide_many(batch)
    text = caplog.text
    assert "posttrain: no clip of category yak" in text
    assert "cat: 2 of 2 clips kept (2 places; 1 with complex motion)" in text
    assert "dog: 1 of 1 clips kept (1 places; 0 with complex motion)" in text


def test_the_filters_that_it_names_have_to_come_before():
    batch = table([1, 2], ["cat", "dog"])
    with pytest.raises(UserError, match=r"wants the label of 'motion', .* are quality, category"):
        Posttrain().decide_many(batch)
    with pytest.raises(UserError, match="'category' gives no score"):
        Posttrain(score="category", motion=None).decide_many(batch)
