"""What people decide on single clips counts more than the filters, in every selection."""

import json
from dataclasses import replace

import pytest

from wanctl.curate.api import Filter, Verdict, threshold
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.balance import Balance
from wanctl.curate.select.overrides import (
    FILE,
    Override,
    OverrideFile,
    overrides_json,
    read_overrides,
    write_overrides,
)
from wanctl.curate.select.select import SelectRules, select
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS, evidence_schema
from wanctl.errors import UserError
from wanctl.recipe.train.section import Bucket


class Loudness(Filter):
    """Keeps quiet clips."""

    evidence = {"level": "float"}  # noqa: RUF012
    limit: float = threshold(default=0.5)

    def decide(self, clip, evidence):
        level = evidence["level"]
        label = "high" if level > 0.5 else "low"
        keep = level <= self.limit
        return Verdict(keep, "" if keep else "loud", weight=float(keep), label=label)


RULES = SelectRules(0.5, (Bucket(frames=1, height=64, width=64),), 25.0, "recipe", {})
LOUD = NamedFilter("loud", Loudness(limit=0.5))
PEOPLE = {
    "clip0": Override(keep=False, reason="a black <frame>", time="2026-01-01T00:00:00+00:00"),
    "clip2": Override(keep=True, reason="a concert"),
    "clip3": Override(keep=False, reason="both agree"),
}


def rules_of(dataset):
    return replace(RULES, overrides=read_overrides(dataset.path))


@pytest.fixture
def dataset(tmp_path):
    made = DatasetDir.create_or_open(tmp_path / "set")
    values = {"string": "x", "bool": False, "int32": 100}
    plain = {field.name: values.get(str(field.type), 0) for field in CLIPS}
    levels = {f"clip{n}": level for n, level in enumerate([0.1, 0.2, 0.9, 0.9])}
    made.write_part("clips", "part-00000", [{**plain, "id": name} for name in levels])
    measured = [{"id": name, "level": level} for name, level in levels.items()]
    schema = evidence_schema(Loudness.evidence)
    made.write_part(LOUD.table, "part-00000", measured, schema=schema)
    write_overrides(made.path, PEOPLE)
    return made


def decide(dataset, filters):
    select(dataset, filters, rules_of(dataset), "default")
    return dataset.read("selections/default").to_pylist()


def test_people_keep_and_drop_clips_and_rows_say_so(dataset):
    rows = decide(dataset, [LOUD])
    assert [row["kept"] for row in rows] == [False, True, True, False]
    assert [row["override"] for row in rows] == [
        "drop: a black <frame>", None, "keep: a concert", "drop: both agree",
    ]  # fmt: skip
    # what the filters say stays readable
    assert [row["reasons"] for row in rows] == [
        ["override: a black <frame>"], [], ["loud: loud"], ["loud: loud", "override: both agree"],
    ]  # fmt: skip


def test_the_funnel_has_a_row_for_people(dataset):
    result = select(dataset, [LOUD], rules_of(dataset), "default")
    loud, crop, people = result.funnel
    assert (loud.name, loud.left, loud.drops, loud.alone) == ("loud", 2, 2, 1)
    assert (crop.name, crop.left) == ("crop", 2)
    assert (people.name, people.left, people.drops, people.alone) == ("override", 2, 2, 1)
    assert (people.restores, result.kept) == (1, 2)


def test_without_overrides_there_is_no_row(dataset):
    write_overrides(dataset.path, {})
    assert not (dataset.path / FILE).exists()
    result = select(dataset, [LOUD], rules_of(dataset), "default")
    assert [row.name for row in result.funnel] == ["loud", "crop"]
    assert dataset.read("selections/default")["override"].null_count == 4


def test_they_hold_for_every_selection_and_threshold(dataset):
    for limit in (0.0, 2.0):
        strict = NamedFilter("loud", Loudness(limit=limit))
        select(dataset, [strict], rules_of(dataset), "other")
        kept = dict(zip(*(dataset.read("selections/other")[c].to_pylist() for c in ("id", "kept")),
                        strict=True))  # fmt: skip
        assert not kept["clip0"]
        assert kept["clip2"]


def test_balancing_counts_what_people_keep(dataset):
    select(dataset, [LOUD], rules_of(dataset), "default", Balance("loud", {"high": 0.75}, 1.0))
    weight = dataset.read("selections/default")["weight"].to_pylist()
    assert weight[2] / weight[1] == pytest.approx(3)


def test_an_override_of_an_unknown_clip_warns(dataset, caplog):
    with caplog.at_level("WARNING"):
        decide(dataset, [LOUD])
        assert not [each for each in caplog.messages if "overrides" in each]
        write_overrides(dataset.path, {**PEOPLE, "gone": Override(keep=True, reason="x")})
        decide(dataset, [LOUD])
    (message,) = [each for each in caplog.messages if "overrides" in each]
    assert message.startswith("1 of 4 overrides in overrides.json are of clips that this data set")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1]", "not a file of overrides"),
        ("{", "not a file of overrides"),
        ('{"overrides": [{"id": "a", "keep": 1, "reason": "x"}]}', "entry 1: `keep` of 'a' is 1"),
        ('{"overrides": [{"id": "a", "keep": true}]}', "entry 1: `reason` is missing"),
        ('{"overrides": [{"id": "", "keep": true, "reason": "x"}]}', "entry 1: `id`"),
        ('{"overrides": [{"id": "a", "keep": true, "reason": "x", "by": 1}]}', "unknown key 'by'"),
        (
            '{"overrides": [{"id": "a", "keep": true, "reason": "x"},'
            ' {"id": "a", "keep": false, "reason": "y"}]}',
            "entry 2: the clip 'a' has an override before it",
        ),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_decided(dataset, text, what):
    (dataset.path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"overrides\.json") as error:
        decide(dataset, [LOUD])
    assert what in str(error.value)


def test_the_file_keeps_what_is_written_one_clip_a_line(dataset):
    assert read_overrides(dataset.path) == PEOPLE
    text = (dataset.path / FILE).read_text(encoding="utf-8")
    assert text == overrides_json(PEOPLE)
    assert len(text.splitlines()) == 2 + len(PEOPLE)
    file = OverrideFile(dataset.path)
    file.change("clip1", Override.now(keep=False, reason=" two\n lines "))
    left = file.change("clip0", None)
    assert set(left) == {"clip1", "clip2", "clip3"}
    assert json.loads((dataset.path / FILE).read_text(encoding="utf-8"))["overrides"][0][
        "reason"
    ] == ("two lines")
