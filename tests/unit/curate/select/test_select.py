import pytest

from wanctl.curate.api import Box, Filter, FilterUnavailableError, Verdict, threshold
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.select import SelectRules, filters_with_evidence, select
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS, evidence_schema
from wanctl.errors import UserError
from wanctl.recipe.train.section import Bucket


class Loudness(Filter):
    """Keeps quiet clips."""

    evidence = {"level": "float"}  # noqa: RUF012
    limit: float = threshold(default=0.5)
    crop: tuple[int, int, int, int] | None = threshold(default=None)

    def decide(self, clip, evidence):
        keep = evidence["level"] <= self.limit
        box = Box(*self.crop) if self.crop else None
        return Verdict(keep, "" if keep else "loud", score=evidence["level"], crop=box, weight=0.5)


class Other(Loudness):
    """Measures something else."""

    window: int = 3


RULES = SelectRules(0.5, (Bucket(frames=17, height=64, width=64),), 25.0, "recipe", {})


def dataset_with(tmp_path, levels, table):
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    empty = {"string": "x", "bool": False}
    plain = {field.name: empty.get(str(field.type), 0) for field in CLIPS}
    plain |= {"vfr": False, "has_audio": False, "end_s": 2.0, "width": 100, "height": 80}
    rows = [{**plain, "id": f"clip{i}", "num_frames": 50} for i in range(len(levels))]
    dataset.write_part("clips", "part-00000", rows)
    measured = [
        {"id": f"clip{i}", "level": level} for i, level in enumerate(levels) if level is not None
    ]
    dataset.write_part(table, "part-00000", measured, schema=evidence_schema({"level": "float"}))
    return dataset


def decide(dataset, filters, rules):
    select(dataset, filters, rules, "default")
    return dataset.read("selections/default").to_pylist()


def test_a_threshold_is_decided_again_from_the_same_evidence(tmp_path):
    strict, lax = (NamedFilter("loud", Loudness(limit=limit)) for limit in (0.3, 0.9))
    assert strict.table == lax.table
    dataset = dataset_with(tmp_path, [0.1, 0.4, 1.0], strict.table)
    assert [row["kept"] for row in decide(dataset, [strict], RULES)] == [True, False, False]
    assert [row["kept"] for row in decide(dataset, [lax], RULES)] == [True, True, False]


def test_rows_hold_reasons_and_scores(tmp_path):
    named = NamedFilter("loud", Loudness())
    row = decide(dataset_with(tmp_path, [0.7], named.table), [named], RULES)[0]
    assert row["reasons"] == ["loud: loud"]
    assert row["scores"] == [{"filter": "loud", "score": 0.7}]
    assert row["bucket"] == "17x64x64"
    assert row["weight"] == 0.5


def test_crops_intersect_and_too_much_crop_drops(tmp_path):
    left = NamedFilter("left", Loudness(crop=(0, 0, 70, 80)))
    right = NamedFilter("right", Loudness(crop=(30, 0, 70, 80)))
    dataset = dataset_with(tmp_path, [0.1], left.table)
    dataset.write_part(
        right.table, "part-00000", [{"id": "clip0", "level": 0.1}],
        schema=evidence_schema({"level": "float"}),
    )  # fmt: skip
    row = decide(dataset, [left, right], RULES)[0]
    assert (row["crop_x"], row["crop_y"], row["crop_w"], row["crop_h"]) == (30, 0, 40, 80)
    assert row["reasons"] == ["crop: crops take 60% of the picture, allowed 50%"]


def test_crops_end_on_even_pixels(tmp_path):
    named = NamedFilter("odd", Loudness(crop=(3, 5, 90, 70)))
    row = decide(dataset_with(tmp_path, [0.1], named.table), [named], RULES)[0]
    assert (row["crop_x"], row["crop_y"], row["crop_w"], row["crop_h"]) == (4, 6, 88, 68)


def test_deciding_needs_only_measured_filters(tmp_path):
    class Elsewhere(Loudness):
        def check(self):
            raise FilterUnavailableError("no model here")

    loud, lost = NamedFilter("loud", Elsewhere()), NamedFilter("lost", Other(optional=True))
    dataset = dataset_with(tmp_path, [0.1], loud.table)
    assert filters_with_evidence(dataset, [loud, lost]) == [loud]


def test_a_clip_that_a_filter_could_not_measure_is_dropped_with_its_error(tmp_path):
    named = NamedFilter("loud", Loudness())
    dataset = dataset_with(tmp_path, [0.1, None], named.table)
    quarantined = {
        "source": "x",
        "clip_id": "clip1",
        "stage": "loud",
        "kind": "error",
        "error": "boom",
    }
    dataset.write_part("quarantine", "part-00000-loud", [quarantined])
    rows = decide(dataset, [named], RULES)
    assert rows[0]["kept"]
    assert rows[1]["reasons"] == ["loud: not measured: boom"]


def test_missing_evidence_names_the_command_that_measures(tmp_path):
    dataset = dataset_with(tmp_path, [0.1], NamedFilter("loud", Loudness()).table)
    with pytest.raises(UserError, match="run `wanctl curate FOLDER`"):
        decide(dataset, [NamedFilter("loud", Other())], RULES)
