"""Metrics against scikit-learn, scipy and hand counts."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, f1_score

from wanctl.bench.metrics import (
    average_precision,
    box_iou,
    f1,
    half_dose,
    macro_f1,
    match_intervals,
    plcc,
    precision_recall,
    recall_by_dose,
    srcc,
)


@pytest.mark.parametrize("levels", [4, 1000])  # with many ties, and with hardly any
def test_average_precision_is_scikit_learns(levels):
    rng = np.random.default_rng(levels)
    truth = rng.random(200) < 0.3
    scores = np.round((rng.random(200) + 0.5 * truth) * levels)
    expected = average_precision_score(truth, scores)
    assert average_precision(truth, scores) == pytest.approx(expected, abs=1e-12)


def test_equal_scores_are_one_point_of_the_curve():
    assert precision_recall([True, False, True], [2, 2, 1]) == [
        (2, 0.5, 0.5),
        (1, pytest.approx(2 / 3), 1.0),
    ]


def test_without_positives_there_is_no_curve():
    with pytest.raises(ValueError, match="at least one positive"):
        average_precision([False], [1.0])


def test_macro_f1_is_scikit_learns():
    rng = np.random.default_rng(3)
    truth, predicted = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    predicted[:200] = truth[:200]
    ours = macro_f1(truth.tolist(), predicted.tolist())
    expected = f1_score(truth, predicted, average="macro")
    assert np.mean(list(ours.values())) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_never_occurs_does_not_count():
    assert macro_f1(["a", "b"], ["a", "c"]) == {"a": 1.0, "b": 0.0}


def test_no_positives_and_no_detections_are_perfect():
    assert f1(0, 0, 0) == 1.0
    assert f1(0, 2, 0) == 0.0


def test_correlations_are_scipys():
    rng = np.random.default_rng(5)
    one = rng.integers(0, 12, 80).astype(float)  # with ties
    other = one + rng.normal(0, 3, 80)
    assert srcc(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert plcc(one, other) == pytest.approx(pearsonr(one, other).statistic, abs=1e-12)


def test_overlap_of_boxes():
    assert box_iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 4, 4), (4, 0, 4, 4)) == 0
    assert box_iou((1, 2, 3, 4), (1, 2, 3, 4)) == 1


def test_boundaries_are_matched_one_to_one():
    truth = [(10, 10), (12, 12), (50, 70)]
    found = [(11, 11), (60, 60), (66, 66), (90, 90)]
    assert match_intervals(truth, found, 1) == [(0, 0), (2, 1)]
    assert match_intervals(truth, found, 0) == [(2, 1)]
    # one detection between two cuts does not count twice, two detections of one do not either
    assert len(match_intervals([(10, 10), (12, 12)], [(11, 11)], 5)) == 1


@pytest.mark.parametrize("falling", [False, True])
def test_the_dose_at_one_half_of_a_noisy_curve(falling):
    rng = np.random.default_rng(1)
    doses = np.repeat(np.linspace(0, 10, 21), 200)
    chance = 1 / (1 + np.exp(-(doses - 6.2) * 1.5))
    hits = rng.random(len(doses)) < (1 - chance if falling else chance)
    curve = recall_by_dose(doses, hits)
    assert [count for _, _, count in curve] == [200] * 21
    assert half_dose(curve) == pytest.approx(6.2, abs=0.15)


def test_where_recall_never_crosses_one_half_there_is_no_such_dose():
    assert half_dose([(1, 0.9, 5), (2, 1.0, 5)]) is None
    assert half_dose([(1, 0.0, 5), (2, 0.2, 5)]) is None
    assert half_dose([(3, 1.0, 5)]) is None
