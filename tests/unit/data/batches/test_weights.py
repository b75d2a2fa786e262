import pytest

from wanctl.data.batches.weights import WeightsError, clip_weights

ROWS = [
    {"id": str(number), "source": f"/film/{kind}/{number}.mp4", "fps": fps, "has_audio": fps > 0,
     "weight": 1.0, "labels": [{"filter": "motion", "label": tier}],
     "scores": [{"filter": "blur", "score": blur}]}
    for number, (kind, fps, tier, blur) in enumerate(
        [("stills", 0.0, None, 1.5), ("day", 25.0, "high", 2.5), ("night", 50.0, "low", None)]
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "factors"),
    [
        ({}, [1, 1, 1]),
        ({"motion": {"high": 3, "low": 0.5}}, [1, 3, 0.5]),
        ({"motion": {"high": 3, "*": 0}}, [1, 3, 0]),
        ({"blur": {">2": 4, ">=1": 2}}, [2, 4, 1]),
        ({"fps": {"25": 2, "> 30": 5}}, [1, 2, 5]),
        ({"source": {"*/stills/*": 0}, "has_audio": {"true": 2}}, [0, 2, 2]),
    ],
)
def test_factors_of_labels_scores_and_columns(rules, factors):
    weights = clip_weights(ROWS, rules)
    assert weights.factors == factors
    assert not weights.unused


def test_what_fits_nothing_is_named_and_what_does_not_exist_is_refused():
    found = clip_weights(ROWS, {"motion": {"hihg": 2, "low": 3}})
    assert found.unused == ["weights.motion: no clip fits 'hihg'; there are high, low"]
    assert found.lines == ["weights by motion: hihg x2: 0 clips, low x3: 1 clips, others x1: 2"]
    with pytest.raises(
        WeightsError, match="no filter or column named 'moton'; did you mean 'motio"
    ):
        clip_weights(ROWS, {"moton": {"high": 2}})
