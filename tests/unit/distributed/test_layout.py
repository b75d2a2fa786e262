"""Processes to axes: what `auto` picks and what is refused."""

import pytest

from wanctl.distributed.layout import Asked, Layout, choose_layout
from wanctl.errors import UserError


@pytest.mark.parametrize(
    ("processes", "heads", "guided", "layout"),
    [
        (1, 12, True, Layout()),
        (2, 12, True, Layout(cfg=2)),
        (2, 12, False, Layout(ulysses=2)),
        (4, 12, True, Layout(cfg=2, ulysses=2)),
        (8, 40, True, Layout(cfg=2, ulysses=4)),
        (8, 12, False, Layout(ulysses=4, ring=2)),
        (16, 12, True, Layout(cfg=2, ulysses=4, ring=2)),
        (3, 40, True, Layout(ring=3)),
        (5, 40, True, Layout(ulysses=5)),
    ],
)
def test_auto_gives_prompts_then_heads_then_keys(processes, heads, guided, layout):
    assert choose_layout(Asked(), processes, heads=heads, guided=guided) == layout
    assert layout.processes == processes


@pytest.mark.parametrize(
    ("asked", "layout"),
    [
        (Asked(ring=4), Layout(cfg=2, ring=4)),
        (Asked(cfg=1), Layout(ulysses=4, ring=2)),
        (Asked(ulysses=2), Layout(cfg=2, ring=2, ulysses=2)),
        (Asked(cfg=1, ring=8), Layout(ring=8)),
        (Asked(cfg=1, ring=2, ulysses=4, fsdp=True), Layout(ring=2, ulysses=4, fsdp=True)),
    ],
)
def test_what_is_said_stays_and_auto_fills_the_rest(asked, layout):
    assert choose_layout(asked, 8, heads=12, guided=True) == layout


@pytest.mark.parametrize(
    ("asked", "processes", "guided", "path", "words"),
    [
        (Asked(ulysses=8), 8, False, "parallel.ulysses", "12 heads (allowed: 1, 2, 3, 4, 6, 12)"),
        (Asked(ring=1), 8, False, "parallel.ulysses", "12 heads"),
        (Asked(cfg=2), 2, False, "parallel.cfg", "guide_scale 1 has one prompt"),
        (Asked(cfg=4), 4, True, "parallel.cfg", "1 and 2"),
        (Asked(ring=3), 8, True, "parallel", "product 3 does not divide"),
        (Asked(ulysses=4), 1, True, "parallel", "torchrun --nproc-per-node"),
        (Asked(cfg=1, ring=1, ulysses=2), 8, True, "parallel", "product 2 is not"),
    ],
)
def test_numbers_that_do_not_fit_are_one_line_that_says_what_does(
    asked, processes, guided, path, words
):
    with pytest.raises(UserError) as told:
        choose_layout(asked, processes, heads=12, guided=guided)
    assert str(told.value).startswith(f"{path}: got ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_weights_are_cut_where_it_pays_or_is_asked_for_and_there_are_several_processes():
    def fsdp(asked, processes, pays):
        return choose_layout(
            Asked(fsdp=asked), processes, heads=12, guided=True, fsdp_pays=pays
        ).fsdp

    assert [fsdp("auto", 2, pays) for pays in (True, False)] == [True, False]
    assert [fsdp(asked, 2, False) for asked in (True, False)] == [True, False]
    assert not fsdp(False, 2, True)
    assert not fsdp(True, 1, True)
