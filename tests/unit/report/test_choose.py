import numpy as np
import pytest

from wanctl.report.charts import distribution
from wanctl.report.choose import MAX_PICTURES, MAX_RECORDS, spread
from wanctl.report.scale import Scale, brief


def test_nearest_clips_are_the_nearest_on_each_side(make):
    material = make(clips=400).material
    (boundary,) = material.choice.boundaries["loud"]
    outcome = material.outcome
    scores, dropped = outcome.scores[:, 0], outcome.dropped[:, 0]
    for rows, side in ((boundary.kept, ~dropped), (boundary.dropped, dropped)):
        distance = np.sort(np.abs(scores[side] - boundary.bound))
        assert np.abs(scores[list(rows)] - boundary.bound).tolist() == distance[:3].tolist()
        assert all(side[row] for row in rows)


def test_a_small_set_is_shown_whole(make):
    choice = make(clips=120).material.choice
    assert sorted(choice.pictures) == list(range(120)) == list(choice.records)


def test_a_large_set_is_shown_in_part_and_every_gallery_has_pictures(make):
    choice = make(clips=20_000).material.choice
    assert len(choice.pictures) == MAX_PICTURES
    assert len(choice.records) == MAX_RECORDS
    assert set(choice.pictures) <= set(choice.records)
    for rows in choice.galleries():
        assert set(rows[:3]) <= set(choice.pictures)


@pytest.mark.parametrize("clips", [30, 1200])
def test_classes_are_galleries_and_copies_stand_side_by_side(make, clips):
    made = make(clips=clips)
    choice, outcome = made.material.choice, made.material.outcome
    assert {sheet.name: sheet.total for sheet in choice.labels["tier"]} == dict.fromkeys(
        ("static", "medium", "shaky"), clips // 3
    )
    assert len(choice.groups["twins"]) == min(16, clips // 10)
    for group in choice.groups["twins"]:
        assert len(group.rows) == group.total == 2
        assert outcome.kept[group.rows[0]]
        assert not outcome.kept[group.rows[1]]


def test_a_spread_is_even_and_starts_with_the_first():
    assert spread(np.arange(100), 4) == (0, 25, 50, 75)
    assert spread(np.arange(3), 4) == (0, 1, 2)


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (np.linspace(0, 1, 50), (0.4,)),
        (np.geomspace(0.01, 1000, 50), (3.0,)),
        (np.r_[np.zeros(90), np.geomspace(0.1, 90, 10)], (3.5,)),
        (np.full(9, 7.0), ()),
        (np.array([-50.0, 0.0, 20.0]), (-80.0, 40.0)),
    ],
)
def test_an_axis_holds_everything_in_order(values, bounds):
    scale = Scale.over(values, bounds)
    places = scale.place(np.sort(np.r_[values, bounds]))
    assert places.min() >= 0
    assert places.max() <= 1
    assert (np.diff(places) >= 0).all()
    assert np.allclose(scale.value(scale.place(values)), values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(float(scale.low) <= tick <= scale.high for tick in ticks)


def test_skewed_scores_get_a_logarithmic_axis():
    rng = np.random.default_rng(0)
    assert Scale.over(rng.lognormal(0, 2, 1000)).is_log
    assert not Scale.over(rng.normal(50, 10, 1000)).is_log


def test_a_chart_tells_its_counts_to_those_who_cannot_see_it():
    svg = distribution(np.array([1.0, 2.0, np.nan]), np.array([9.0]), (5.0, np.inf), "<dB>")
    assert 'aria-label="2 clips pass, from 1 to 2 &lt;dB&gt;; 1 are dropped, from 9 to 9' in svg
    assert svg.count('class="keep"') == 2
    assert svg.count('class="drop"') == 1
    assert svg.count('class="bound"') == 1


def test_small_piles_are_seen_beside_tall_ones():
    svg = distribution(np.full(100_000, 5.0), np.full(1, 6.0), (), "")
    assert "heights are logarithmic" in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.12344, "0.1234"), (12.5, "12.5"), (1240.0, "1,240"), (3.2e6, "3.2M")],
)
def test_numbers_are_brief(value, text):
    assert brief(value) == text
