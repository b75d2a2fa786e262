"""Spans that filters propose: their intersection, and clips of which too little is left."""

import pytest

from wanctl.curate.api import Filter, Verdict, threshold
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.overrides import Override
from wanctl.curate.select.select import SelectRules, select
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS, evidence_schema
from wanctl.recipe.train.section import Bucket
from wanctl_filters.duration import Duration

BUCKETS = (Bucket(frames=17, height=64, width=64), Bucket(frames=81, height=64, width=64))
LENGTH_S = 6.0


class Trimmer(Filter):
    """Proposes the same span for every clip, or for one of them."""

    evidence = {"level": "float"}  # noqa: RUF012
    start_s: float = threshold(default=0.0)
    end_s: float = threshold(default=LENGTH_S)

    only: str = threshold(default="")

    def decide(self, clip, evidence):
        if self.only not in clip.id:
            return Verdict(True)
        return Verdict(True, span=(self.start_s, self.end_s), span_reason="a title")


class SetTrimmer(Trimmer):
    """Makes the verdicts before it pass through the store on disk."""

    scope = "set"


@pytest.fixture
def chosen(tmp_path):
    """Decides two clips of 6 s at 25 fps with some filters; the rows of the selection."""
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    empty = {"string": "x", "bool": False}
    plain = {field.name: empty.get(str(field.type), 0) for field in CLIPS}
    plain |= {
        "fps": 25.0,
        "num_frames": 150,
        "start_s": 10.0,
        "end_s": 10.0 + LENGTH_S,
        "width": 100,
        "height": 80,
    }
    ids = ["clip0", "clip1"]
    dataset.write_part("clips", "part-00000", [{**plain, "id": each} for each in ids])

    def decide(*filters, overrides=None):
        named = [NamedFilter(f"f{number}", each) for number, each in enumerate(filters)]
        for each in named:
            rows = [{"id": name, "level": 0.0, "duration_s": LENGTH_S, "num_frames": 150}
                    for name in ids]  # fmt: skip
            schema = evidence_schema(each.filter.evidence)
            rows = [{key: row[key] for key in schema.names} for row in rows]
            dataset.write_part(each.table, "part-00000", rows, schema=schema)
        rules = SelectRules(0.5, BUCKETS, 16.0, "recipe", overrides or {})
        select(dataset, named, rules, "default")
        return dataset.read("selections/default").to_pylist()

    return decide


def test_without_a_proposal_the_span_is_null(chosen):
    row, _ = chosen(Duration(min_s=4))
    assert (row["span_start_s"], row["span_end_s"], row["span_reason"]) == (None, None, None)
    assert row["bucket"] == "81x64x64"


@pytest.mark.parametrize("second", [Trimmer, SetTrimmer])
def test_spans_intersect_and_the_bucket_is_that_of_the_rest(chosen, second):
    row, _ = chosen(Trimmer(start_s=1.0), second(end_s=5.52))
    assert row["kept"]
    assert (row["span_start_s"], row["span_end_s"]) == (pytest.approx(1.0), pytest.approx(5.52))
    assert row["span_reason"] == "f0: a title; f1: a title"
    assert row["bucket"] == "17x64x64", "4.5 s are too short for 81 frames"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("floor", [Duration(min_s=4), Duration(min_s=0, min_frames=100)])
def test_what_is_left_has_to_be_as_long_as_a_clip(chosen, order, floor):
    filters = [floor, Trimmer(start_s=2.4)][::order]
    row, _ = chosen(*filters)
    name = f"f{filters.index(floor)}"
    other = f"f{1 - filters.index(floor)}"
    assert not row["kept"]
    assert row["reasons"] == [
        f"{name}: 3.60 s are left after trimming ({other}: a title), at least 4 s wanted"
    ]
    filters[filters.index(floor)] = Duration(min_s=3)
    assert chosen(*filters)[0]["kept"], "decided again, not measured again"


def test_each_clip_has_the_reasons_of_its_own_span(chosen):
    mine, other = chosen(Trimmer(start_s=1.0, only="0"), Trimmer(end_s=5.0, only="1"), Trimmer())
    assert mine["span_reason"] == "f0: a title; f2: a title"
    assert other["span_reason"] == "f1: a title; f2: a title"
    mine, other = chosen(Trimmer(start_s=1.0, only="0"))
    assert (mine["span_reason"], other["span_reason"]) == ("f0: a title", None)


def test_a_span_holds_whole_frames(chosen):
    row, _ = chosen(Trimmer(start_s=1.01, end_s=5.01))
    assert (row["span_start_s"], row["span_end_s"]) == (pytest.approx(1.04), pytest.approx(5.0))


def test_spans_without_a_common_part_drop_the_clip(chosen):
    row, _ = chosen(Trimmer(start_s=4.0), Trimmer(end_s=3.0))
    assert not row["kept"]
    assert [each[:22] for each in row["reasons"]] == [
        "f0: 0.00 s are left af",
        "f1: 0.00 s are left af",
    ]


def test_a_clip_that_a_person_keeps_is_kept_whole_where_its_span_is_too_short(chosen):
    overrides = {"clip0": Override(keep=True, reason="fine")}
    mine, other = chosen(Duration(min_s=4), Trimmer(start_s=2.4), overrides=overrides)
    assert (mine["kept"], mine["span_start_s"], mine["span_reason"]) == (True, None, None)
    assert (other["kept"], other["span_start_s"]) == (False, pytest.approx(2.4))
    mine, _ = chosen(Duration(min_s=1), Trimmer(start_s=2.4), overrides=overrides)
    assert mine["span_start_s"] == pytest.approx(2.4)
