import numpy as np
import pytest

from wanctl.report.charts import distribution
from wanctl.report.examples import MAX_RECORDS, MAX_THUMBNAILS, spread_evenly
from wanctl.report.scale import Scale, format_number


def test_nearest_clips_are_the_nearest_on_each_side(make):
    report = make(clips=400).report
    (nearest,) = report.examples.bounds["loud"]
    decided = report.decided
    scores, dropped = decided.scores[:, 0], decided.dropped[:, 0]
    for rows, side in ((nearest.kept, ~dropped), (nearest.dropped, dropped)):
        distance = np.sort(np.abs(scores[side] - nearest.bound))
        assert np.abs(scores[list(rows)] - nearest.bound).tolist() == distance[:3].tolist()
        assert all(side[row] for row in rows)


def test_a_small_set_is_shown_in_full(make):
    examples = make(clips=120).report.examples
    assert sorted(examples.thumbnails) == list(range(120)) == list(examples.records)


def test_a_large_set_is_shown_in_part_and_every_gallery_has_pictures(make):
    examples = make(clips=20_000).report.examples
    assert len(examples.thumbnails) == MAX_THUMBNAILS
    assert len(examples.records) == MAX_RECORDS
    assert set(examples.thumbnails) <= set(examples.records)
    for rows in examples.galleries():
        assert set(rows[:3]) <= set(examples.thumbnails)


@pytest.mark.parametrize("clips", [30, 1200])
def test_classes_are_sheets_and_copies_are_next_to_each_other(make, clips):
    made = make(clips=clips)
    examples, decided = made.report.examples, made.report.decided
    assert {sheet.name: sheet.total for sheet in examples.labels["tier"]} == dict.fromkeys(
        ("static", "medium", "shaky"), clips // 3
    )
    assert len(examples.groups["twins"]) == min(16, clips // 10)
    for group in examples.groups["twins"]:
        assert len(group.rows) == group.total == 2
        assert decided.kept[group.rows[0]]
        assert not decided.kept[group.rows[1]]


def test_examples_are_spread_evenly_from_the_first_on():
    assert spread_evenly(np.arange(100), 4) == (0, 25, 50, 75)
    assert spread_evenly(np.arange(3), 4) == (0, 1, 2)


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
    positions = scale.position(np.sort(np.r_[values, bounds]))
    assert positions.min() >= 0
    assert positions.max() <= 1
    assert (np.diff(positions) >= 0).all()
    assert np.allclose(scale.value(scale.position(values)), values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(float(scale.low) <= tick <= scale.high for tick in ticks)


def test_skewed_scores_get_a_logarithmic_axis():
    rng = np.random.default_rng(0)
    assert Scale.over(rng.lognormal(0, 2, 1000)).is_log
    assert not Scale.over(rng.normal(50, 10, 1000)).is_log


def test_a_chart_states_its_counts_for_screen_readers():
    html = distribution(np.array([1.0, 2.0, np.nan]), np.array([9.0]), (5.0, np.inf), "<dB>")
    svg, legend = html.split("</svg>")
    assert 'aria-label="2 clips pass, from 1 to 2 &lt;dB&gt;; 1 are dropped, from 9 to 9' in svg
    assert svg.count('class="keep"') == 2
    assert svg.count('class="drop"') == 1
    assert svg.count('class="bound"') == 1
    for text in ("clips that it passes", "clips that it drops", "bound of the filter"):
        assert text in legend


def test_small_bars_are_visible_next_to_tall_ones():
    svg = distribution(np.full(100_000, 5.0), np.full(1, 6.0), (), "")
    assert "heights are logarithmic" in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.12344, "0.1234"), (12.5, "12.5"), (1240.0, "1,240"), (3.2e6, "3.2M")],
)
def test_numbers_are_brief(value, text):
    assert format_number(value) == text
