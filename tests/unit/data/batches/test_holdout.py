import time

import pytest

from wanctl.data.batches.holdout import hold_out


def rows(ids, sources, copies=None):
    labels = [
        [{"filter": "duplicates", "label": c}] if c else None for c in copies or [None] * len(ids)
    ]
    return [
        {"id": name, "source": f"/{source}", "content_hash": source, "labels": each}
        for name, source, each in zip(ids, sources, labels, strict=True)
    ]


IDS = [f"clip{i}" for i in range(400)]
SOURCES = [f"source{i // 10}" for i in range(400)]


@pytest.mark.parametrize("by", ["clip", "source"])
def test_held_out_clips_stay_held_out_as_the_set_grows(by):
    few, many = (hold_out(rows(IDS[:n], SOURCES[:n]), 0.1, by).flags for n in (200, 400))
    assert many[:200] == few
    assert 0.04 < sum(many) / 400 < 0.2


def test_whole_files_are_held_out_where_there_are_enough():
    held = hold_out(rows(IDS, SOURCES), 0.1, "auto")
    by_file = {s: {h for h, o in zip(held.flags, SOURCES, strict=True) if o == s} for s in SOURCES}
    assert all(len(flags) == 1 for flags in by_file.values())
    number = sum(True in flags for flags in by_file.values())
    assert (
        held.text
        == f"held out: {number * 10} of 400 clips, all clips of {number} of 40 files of footage"
    )
    few = hold_out(rows(IDS[:90], SOURCES[:90]), 0.1, "auto")
    assert any(few.flags)
    assert few.text.endswith("whose footage is trained on too (9 files of footage are too few)")
    assert not any(hold_out(rows(IDS, SOURCES), 0, "auto").flags)


def test_a_file_with_most_of_the_clips_is_trained_on():
    sources = [*["film"] * 300, *[f"source{i // 5}" for i in range(100)]]
    for share in (0.02, 0.1, 0.2):
        flags = hold_out(rows(IDS, sources), share, "auto").flags
        assert any(flags)
        assert not any(flags[:300])
        assert sum(flags) <= 2 * share * 400


def test_a_file_may_be_held_out_with_its_only_clip():
    flags = hold_out(rows(IDS[:40], IDS[:40]), 0.01, "auto").flags
    assert sum(flags) == 1
    assert not any(hold_out(rows(IDS[:40], IDS[:40]), 0.01, "clip").flags), "it is the last one"


@pytest.mark.parametrize("by", ["clip", "source"])
def test_copies_are_never_on_both_sides(by):
    copies = [f"clip{i % 37}" if i % 3 else None for i in range(400)]
    flags = hold_out(rows(IDS, [f"source{i}" for i in range(400)], copies), 0.2, by).flags
    if by == "source":
        assert any(flags)
    for name in {c for c in copies if c}:
        assert len({f for f, c in zip(flags, copies, strict=True) if c == name}) == 1
    sources = [f"source{i // 40}" for i in range(400)]
    flags = hold_out(rows(IDS, sources, copies), 0.3, "clip").flags
    assert any(flags)
    for name in {c for c in copies if c}:
        assert len({f for f, c in zip(flags, copies, strict=True) if c == name}) == 1


def test_no_file_loses_its_last_clip_to_the_choice_of_clips():
    assert hold_out(rows("abc", "xyz"), 0.9, "clip").flags == [False] * 3
    assert sum(hold_out(rows("abc", "xxx"), 0.99, "clip").flags) == 2
    assert sum(hold_out(rows("ab", "xx"), 0.001, "clip").flags) == 1


def test_the_choice_is_linear_in_the_number_of_clips():
    """30,000 clips of as many sources took minutes with one `count` per source."""
    number = 30_000
    ids = [f"clip{i}" for i in range(number)]
    started = time.process_time()
    alone = hold_out(rows(ids, ids), 0.1, "auto").flags
    five = hold_out(rows(ids, [f"source{i // 5}" for i in range(number)]), 0.1, "clip").flags
    for flags in (alone, five):
        assert 0.09 < sum(flags) / number < 0.11
    assert time.process_time() - started < 10
