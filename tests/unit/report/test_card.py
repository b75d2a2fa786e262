"""The data card names what ran, not what a recipe says."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from wanctl.curate.api import Filter, Verdict
from wanctl.curate.registry import NamedFilter
from wanctl.data.card import write_card
from wanctl.data.dataset import DatasetDir
from wanctl.data.provenance import decision_of, detectors_of, record_decision, record_detector
from wanctl.data.schemas import evidence_schema
from wanctl.report.card import RecipeFacts, describe

LEVEL = evidence_schema({"level": "float"})


class Measures(Filter):
    """Measures a level."""

    version = 3
    evidence: ClassVar[Mapping[str, str]] = {"level": "float"}
    model: str = "net"

    def models(self):
        return {self.model: "MIT"}

    def measure(self, clip, frames):
        return {"level": 1.0}

    def decide(self, clip, evidence, before):
        return Verdict(True)


@pytest.fixture
def dataset(tmp_path):
    made = DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")
    for part, name in (("part-00000", "a"), ("part-00001", "b")):
        clip = {"id": name, "source": f"/{name}.mp4", "content_hash": name, "start_s": 0.0}
        made.write_part("clips", part, [{**clip, "end_s": 2.0}])
        made.write_part("quarantine", part, [])
    rows = [
        {"id": "a", "kept": True, "reasons": []},
        {"id": "b", "kept": False, "reasons": ["one: too low"]},
    ]
    made.write_part("selections/default", "", rows)
    return made


def measure(dataset, named, parts):
    for part, name in parts:
        dataset.write_part(named.table, part, [{"id": name, "level": 1.0}], schema=LEVEL)


def card(dataset, filters, detector="auto"):
    facts = RecipeFacts("mine", "0" * 64, "default", "CC0", detector, filters)
    return describe(dataset, facts)


BOTH = [("part-00000", "a"), ("part-00001", "b")]


def test_only_detectors_that_ran_are_named(dataset):
    assert card(dataset, []).split == {"detector": "auto", "models": {}}
    record_detector(dataset, "adaptive")
    assert card(dataset, []).split == {"detector": "adaptive", "models": {}}
    record_detector(dataset, "transnetv2")
    record_detector(dataset, "adaptive")
    assert detectors_of(dataset) == ["adaptive", "transnetv2"]
    split = card(dataset, [], "none").split
    assert split == {"detector": "adaptive, transnetv2", "models": {"TransNetV2": "MIT"}}


def test_a_filter_that_was_skipped_is_not_named(dataset):
    one, two = NamedFilter("one", Measures()), NamedFilter("two", Measures(model="big"))
    measure(dataset, one, BOTH)
    measure(dataset, two, BOTH)  # measured, and not available when the selection was made
    record_decision(dataset, "default", {"one": one.filter.config_hash()})
    assert decision_of(dataset, "default") == {"one": one.filter.config_hash()}
    assert decision_of(dataset, "other") is None
    (row,) = card(dataset, [one, two]).filters
    assert row == {
        "name": "one",
        "version": 3,
        "config_hash": one.filter.config_hash(),
        "models": {"net": "MIT"},
        "left": 1,
        "drops": 1,
        "alone": 1,
    }


def test_a_filter_of_other_settings_is_named_by_the_hash_it_ran_with(dataset):
    record_decision(dataset, "default", {"one": "12345678", "gone": "87654321"})
    rows = card(dataset, [NamedFilter("one", Measures())]).filters
    assert [(row["name"], row["config_hash"], row["models"]) for row in rows] == [
        ("one", "12345678", {}),
        ("gone", "87654321", {}),
    ]


def test_without_a_record_the_filters_with_all_measurements_are_named(dataset):
    one, two = NamedFilter("one", Measures()), NamedFilter("two", Measures(model="big"))
    measure(dataset, one, BOTH)
    measure(dataset, two, BOTH[:1])
    assert [row["name"] for row in card(dataset, [one, two]).filters] == ["one"]


def test_backends_without_a_caption_and_files_that_are_gone_do_not_count(dataset):
    dataset.write_part("captions/sidecar@v1", "part-00000", [])
    caption = {"id": "b", "text": "x", "variant": "default", "backend": "model"}
    dataset.write_part("captions/model@v1", "part-00001", [caption])  # of a dropped clip
    dataset.write_part("captions/template@v1", "part-00000", [{**caption, "id": "a"}])
    assert [row["backend"] for row in card(dataset, []).captions] == ["template"]


def test_what_people_decided_is_counted(dataset):
    assert "kept_by_people" not in card(dataset, []).clips
    rows = dataset.read("selections/default").to_pylist()
    rows[1] |= {"kept": True, "override": "keep: drop: this is fine"}
    dataset.write_part("selections/default", "", rows)
    made = card(dataset, [])
    assert (made.clips["kept_by_people"], made.clips["dropped_by_people"]) == (1, 0)
    write_card(dataset.path, made)
    page = (dataset.path / "README.md").read_text(encoding="utf-8")
    assert "| against the filters | people keep 1, drop 0 |" in page
