"""What each filter does to the set, counted over any parts of it."""

import numpy as np
import pytest

from wanctl.curate.select.funnel import count_funnel

SCORE = np.arange(100.0)


def counted(parts=1, *, keep=None, bound=50.0):
    """A filter `a` that keeps what is below 50, and `b` that keeps even rows."""
    keeps = {"a": SCORE < 50 if keep is None else keep, "b": np.arange(100) % 2 == 0}
    pieces = np.array_split(np.arange(100), parts)
    tallies = [
        count_funnel(
            {n: k[rows] for n, k in keeps.items()}, {"a": SCORE[rows], "b": None}, {"a": (bound,)}
        )
        for rows in pieces
    ]
    return sum(tallies[1:], tallies[0])


def test_the_funnel_adds_up():
    a, b = counted().rows()
    assert (a.left, a.drops, a.alone) == (50, 50, 25)
    assert (b.left, b.drops, b.alone) == (25, 50, 25)
    assert (counted().total, counted().kept) == (100, 25)
    assert b.steps == ()


@pytest.mark.parametrize("parts", [2, 7])
def test_counts_of_slices_add_up_to_those_of_the_set(parts):
    assert counted(parts).rows() == counted().rows()


def test_a_highest_score_one_step_away():
    down, up = counted().rows()[0].steps
    assert (down.bound, down.moved, down.drops, down.alone) == (50, 45, 55, 27)
    assert (up.moved, up.drops, up.alone) == (55, 45, 22)
    assert (counted().rows()[0].at_strictest(), counted().rows()[0].at_laxest()) == (55, 45)


def test_a_lowest_score_one_step_away():
    down, up = counted(keep=SCORE >= 50).rows()[0].steps
    assert (down.drops, up.drops) == (45, 55)


@pytest.mark.parametrize(("bound", "stricter"), [(99.0, 9), (-1.0, 0)])
def test_a_bound_that_drops_nothing_yet(bound, stricter):
    row = counted(keep=SCORE >= -1, bound=bound).rows()[0]
    assert row.drops == 0
    assert row.at_strictest() == stricter
    assert row.at_laxest() == 0
