"""Producer and consumer run at once, in order; either ends when the other fails."""

import threading
import time

import pytest

from wanctl.background import run_in_background

PAUSE_S = 0.04


def slowly(items):
    for item in items:
        time.sleep(PAUSE_S)
        yield item


def test_items_arrive_in_order_while_the_next_is_produced():
    threads = set()

    def consume(items):
        threads.add(threading.get_ident())
        return list(slowly(items))

    started = time.perf_counter()
    assert run_in_background(slowly(range(12)), consume, 2) == list(range(12))
    # one after the other takes 24 pauses; side by side 13
    assert time.perf_counter() - started < 20 * PAUSE_S
    assert threading.get_ident() not in threads


def test_the_producer_is_never_far_ahead():
    made, used = [], []

    def produce():
        for number in range(9):
            made.append(number)
            yield number

    def consume(items):
        for number in items:
            time.sleep(PAUSE_S / 4)
            used.append(number)
            # those that wait, the one being consumed, the one just produced
            assert len(made) <= len(used) + 2 + 2

    run_in_background(produce(), consume, 2)
    assert used == list(range(9))


def test_an_error_of_the_producer_ends_the_consumer():
    seen = []

    def produce():
        yield 1
        raise KeyError("cannot produce")

    def consume(items):
        try:
            seen.extend(items)
        finally:
            seen.append("ended")
        seen.append("as if it were complete")

    with pytest.raises(KeyError, match="cannot produce"):
        run_in_background(produce(), consume, 4)
    assert seen[-1] == "ended"


def test_an_error_of_the_consumer_ends_the_producer():
    made = []

    def produce():
        for number in range(1000):
            made.append(number)
            yield number

    def consume(items):
        next(items)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_in_background(produce(), consume, 1)
    assert len(made) < 10


def test_no_items():
    assert run_in_background([], list, 1) == []
