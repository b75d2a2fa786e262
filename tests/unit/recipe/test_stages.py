"""The curation recipes of the training stages: one data set serves all stages."""

import pytest

from wanctl.curate.registry import build_filters
from wanctl.recipe.validate import load_checked

STAGES = ("curate-256p", "curate-480p", "curate-720p", "curate-post")


def filters(name):
    return {f.name: f.filter for f in build_filters(load_checked(name).recipe.curate.filters)}


@pytest.mark.parametrize("name", STAGES[1:])
def test_all_stages_have_the_measurements_of_the_first(name):
    first, later = filters(STAGES[0]), filters(name)
    assert {n: later[n].config_hash() for n in first} == {
        n: f.config_hash() for n, f in first.items()
    }


def test_later_stages_are_stricter():
    chain = [filters(name) for name in STAGES[:3]]
    assert [each["resolution"].min_short_px for each in chain] == [256, 480, 720]
    assert [each["ocr"].max_overlay for each in chain] == [0.045, 0.013, 0.007]
    assert [each["aesthetic"].min_mean for each in chain] == [3.5, 4.3, 4.5]
    assert "posttrain" in filters("curate-post")
