"""Two things at once: neither waits for nothing, and neither outlives the other's failure."""

import threading
import time

import pytest

from wanctl.background import run_in_background

PAUSE_S = 0.04


def slowly(things):
    for thing in things:
        time.sleep(PAUSE_S)
        yield thing


def test_everything_arrives_in_order_while_the_next_is_made():
    threads = set()

    def use(things):
        threads.add(threading.get_ident())
        return list(slowly(things))

    started = time.perf_counter()
    assert run_in_background(slowly(range(12)), use, 2) == list(range(12))
    # one after the other takes 24 pauses; side by side 13
    assert time.perf_counter() - started < 20 * PAUSE_S
    assert threading.get_ident() not in threads


def test_nothing_is_made_far_ahead():
    made, used = [], []

    def make():
        for number in range(9):
            made.append(number)
            yield number

    def use(things):
        for number in things:
            time.sleep(PAUSE_S / 4)
            used.append(number)
            # those that wait, the one in hand, the one just made
            assert len(made) <= len(used) + 2 + 2

    run_in_background(make(), use, 2)
    assert used == list(range(9))


def test_what_making_raises_ends_using():
    seen = []

    def make():
        yield 1
        raise KeyError("made wrong")

    def use(things):
        try:
            seen.extend(things)
        finally:
            seen.append("ended")
        seen.append("as if it were whole")

    with pytest.raises(KeyError, match="made wrong"):
        run_in_background(make(), use, 4)
    assert seen[-1] == "ended"


def test_what_using_raises_ends_making():
    made = []

    def make():
        for number in range(1000):
            made.append(number)
            yield number

    def use(things):
        next(things)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_in_background(make(), use, 1)
    assert len(made) < 10


def test_nothing_at_all():
    assert run_in_background([], list, 1) == []
