"""Processes to axes: what `auto` picks and what is refused."""

import pytest

from wanctl.distributed.layout import Layout, ParallelOptions, choose_layout
from wanctl.errors import UserError


@pytest.mark.parametrize(
    ("processes", "heads", "passes", "layout"),
    [
        (1, 12, 2, Layout()),
        (2, 12, 2, Layout(cfg=2)),
        (2, 12, 1, Layout(ulysses=2)),
        (4, 12, 2, Layout(cfg=2, ulysses=2)),
        (8, 40, 2, Layout(cfg=2, ulysses=4)),
        (8, 12, 1, Layout(ulysses=4, ring=2)),
        (16, 12, 2, Layout(cfg=2, ulysses=4, ring=2)),
        (3, 40, 2, Layout(ring=3)),
        (5, 40, 2, Layout(ulysses=5)),
        (6, 12, 3, Layout(cfg=3, ulysses=2)),
        (4, 12, 3, Layout(ulysses=4)),
    ],
)
def test_auto_gives_prompts_then_heads_then_keys(processes, heads, passes, layout):
    assert choose_layout(ParallelOptions(), processes, heads=heads, passes=passes) == layout
    assert layout.processes == processes


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        (ParallelOptions(ring=4), Layout(cfg=2, ring=4)),
        (ParallelOptions(cfg=1), Layout(ulysses=4, ring=2)),
        (ParallelOptions(ulysses=2), Layout(cfg=2, ring=2, ulysses=2)),
        (ParallelOptions(cfg=1, ring=8), Layout(ring=8)),
        (
            ParallelOptions(cfg=1, ring=2, ulysses=4, fsdp=True),
            Layout(ring=2, ulysses=4, fsdp=True),
        ),
    ],
)
def test_set_numbers_stay_and_auto_fills_the_rest(options, layout):
    assert choose_layout(options, 8, heads=12, passes=2) == layout


@pytest.mark.parametrize(
    ("options", "processes", "passes", "path", "words"),
    [
        (
            ParallelOptions(ulysses=8),
            8,
            1,
            "parallel.ulysses",
            "12 heads (allowed: 1, 2, 3, 4, 6, 12)",
        ),
        (ParallelOptions(ring=1), 8, 1, "parallel.ulysses", "12 heads"),
        (ParallelOptions(cfg=2), 2, 1, "parallel.cfg", "guide_scale 1 has one prompt"),
        (ParallelOptions(cfg=4), 4, 2, "parallel.cfg", "1 and 2"),
        (ParallelOptions(cfg=2), 2, 3, "parallel.cfg", "1 and 3 (passes of guidance by"),
        (ParallelOptions(ring=3), 8, 2, "parallel", "product 3 does not divide"),
        (ParallelOptions(ulysses=4), 1, 2, "parallel", "torchrun --nproc-per-node"),
        (ParallelOptions(cfg=1, ring=1, ulysses=2), 8, 2, "parallel", "product 2 is not"),
    ],
)
def test_wrong_numbers_are_one_line_that_names_the_allowed_ones(
    options, processes, passes, path, words
):
    with pytest.raises(UserError) as caught:
        choose_layout(options, processes, heads=12, passes=passes)
    assert str(caught.value).startswith(f"{path}: got ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fsdp_shards_weights_by_default_or_on_request_and_only_for_several_processes():
    def fsdp(options, processes, pays):
        return choose_layout(
            ParallelOptions(fsdp=options), processes, heads=12, passes=2, fsdp_by_default=pays
        ).fsdp

    assert [fsdp("auto", 2, pays) for pays in (True, False)] == [True, False]
    assert [fsdp(options, 2, False) for options in (True, False)] == [True, False]
    assert not fsdp(False, 2, True)
    assert not fsdp(True, 1, True)
