"""What filters get: slices, sources, the whole set, and crops and verdicts of earlier filters."""

import numpy as np
import pytest

from wanctl.curate.api import Embedder, Filter, Verdict, Verdicts, threshold
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.balance import Balance
from wanctl.curate.select.select import SelectRules, resolve_percentiles, select
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS, evidence_schema
from wanctl.recipe.train.section import Bucket

RULES = SelectRules(0.9, (Bucket(frames=17, height=32, width=32),), 25.0, "recipe", {})
EMPTY = {"string": "x", "bool": False}
PLAIN = {field.name: EMPTY.get(str(field.type), 0) for field in CLIPS}
PLAIN |= {"end_s": 2.0, "width": 100, "height": 80}
LEVEL = evidence_schema({"level": "float"})


class Level(Filter):
    """Drops what is above a limit."""

    evidence = {"level": "float"}  # noqa: RUF012
    limit: float = threshold(default=9.0, quantile=1, ge=0)
    crop: tuple[int, int, int, int] | None = threshold(default=None)
    kind: str = ""

    def bounds(self):
        return (self.limit,)

    def decide_many(self, batch):
        level = batch.numbers("level")
        crops = np.array([self.crop] * len(batch), np.int32) if self.crop else None
        label = np.where(level % 2 == 0, "even", "odd").astype(object)
        return Verdicts.judge(
            level,
            (level > self.limit, lambda row: f"level {level[row]:g}, allowed {self.limit:g}"),
            crops=crops,
            label=label,
        )


class Rank(Filter):
    """Keeps the best half by an earlier filter's score, over the whole set."""

    scope = "set"
    share: float = threshold(default=0.5)

    def decide_many(self, batch):
        score = batch.verdicts["level"].score
        place = np.argsort(np.argsort(-score))
        return Verdicts.judge(
            place.astype(float),
            (place >= self.share * len(batch), lambda row: f"place {place[row]} of {len(batch)}"),
        )


class Tiny(Embedder):
    name = "tiny"


class Near(Filter):
    """Needs vectors only."""

    def embedder(self):
        return Tiny()

    def decide_many(self, batch):
        assert batch.vectors is not None
        return Verdicts.judge(batch.vectors.mean()[:, 0], (np.zeros(len(batch), bool), str))


class ViewWidth(Filter):
    """Scores the width of the view that it gets."""

    evidence = {"level": "float"}  # noqa: RUF012

    def decide(self, clip, evidence):
        return Verdict(True, score=float(clip.view.width if clip.view else -1))


class Higher(Filter):
    """Keeps clips whose level another filter measured higher than this one."""

    evidence = {"level": "float"}  # noqa: RUF012
    other_evidence = ("later", "absent")
    scope = "clip"

    def decide_many(self, batch):
        assert batch.other("absent") is None
        own, other = batch.numbers("level"), batch.other("later").numbers("level")
        return Verdicts.judge(other, (~(other > own), lambda row: f"{own[row]} and {other[row]}"))


class HigherOfSet(Higher):
    scope = "set"


def made(tmp_path, parts, *tables):
    """A data set with a part for each list of levels; clips are named by place."""
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    number = 0
    for index, levels in enumerate(parts):
        names = [f"clip{number + i}" for i in range(len(levels))]
        number += len(levels)
        rows = [{**PLAIN, "id": name, "content_hash": name} for name in names]
        dataset.write_part("clips", f"part-{index:05d}", rows)
        evidence = [{"id": n, "level": v} for n, v in zip(names, levels, strict=True)]
        for table in tables:
            dataset.write_part(table, f"part-{index:05d}", evidence, schema=LEVEL)
    return dataset


def rows_of(dataset, name="default"):
    return dataset.read(f"selections/{name}").to_pylist()


@pytest.fixture(params=[1, 1 << 17], ids=["slices", "whole"])
def rows_at_once(request, monkeypatch):
    monkeypatch.setattr("wanctl.curate.select.slices.slices_of.__defaults__", (request.param,))


@pytest.mark.usefixtures("rows_at_once")
def test_a_filter_of_scope_set_gets_all_clips_and_the_scores_before_it(tmp_path):
    level, rank = NamedFilter("level", Level()), NamedFilter("rank", Rank())
    dataset = made(tmp_path, [[1.0, 5.0], [3.0, 2.0]], level.table)
    done = select(dataset, [level, rank], RULES, "default")
    assert [row["kept"] for row in rows_of(dataset)] == [False, True, True, False]
    assert rows_of(dataset)[0]["reasons"] == ["rank: place 3 of 4"]
    assert (done.total, done.kept) == (4, 2)
    assert [(row.name, row.left, row.drops) for row in done.funnel] == [
        ("level", 4, 0), ("rank", 2, 2), ("crop", 2, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("own", [Higher(), HigherOfSet()], ids=lambda own: own.scope)
@pytest.mark.usefixtures("rows_at_once")
def test_a_filter_gets_the_evidence_of_another_in_the_order_of_its_clips(tmp_path, own):
    first, later = NamedFilter("first", own), NamedFilter("later", Level())
    dataset = made(tmp_path, [[1.0, 2.0], [3.0, 4.0]], first.table)
    dataset.write_part(
        later.table, "part-00000", [{"id": "clip0", "level": 9.0}, {"id": "clip1", "level": 1.5}],
        schema=LEVEL,
    )  # fmt: skip
    # clip3 failed in the other filter
    dataset.write_part(later.table, "part-00001", [{"id": "clip2", "level": 8.0}], schema=LEVEL)
    failed = {"source": "x", "clip_id": "clip3", "stage": "later", "kind": "error", "error": "bad"}
    dataset.write_part("quarantine", "part-00001", [failed])
    select(dataset, [first, later], RULES, "default")
    reasons = {row["id"]: row["reasons"] for row in rows_of(dataset)}
    assert reasons == {
        "clip0": [],
        "clip1": ["first: 2.0 and 1.5"],
        "clip2": [],
        "clip3": ["first: 4.0 and nan", "later: not measured: bad"],
    }


@pytest.mark.usefixtures("rows_at_once")
def test_a_percentile_is_that_of_all_scores(tmp_path):
    level = NamedFilter("level", Level(limit="p50"))
    dataset = made(tmp_path, [[1.0, 5.0], [3.0, 2.0, 4.0]], level.table)
    done = select(dataset, [level], RULES, "default")
    assert done.filters[0].filter.limit == 3.0
    assert [row["kept"] for row in rows_of(dataset)] == [True, False, True, True, False]
    assert rows_of(dataset)[1]["reasons"] == ["level: level 5, allowed 3"]
    again = resolve_percentiles([level], dataset.read("selections/default", ["scores"]))
    assert again[0].filter.limit == 3.0


@pytest.mark.parametrize("wrong", ["p101", "q5", "p-1", "20"])
def test_an_invalid_percentile_is_refused(wrong):
    with pytest.raises(ValueError, match="limit"):
        Level(limit="p101" if wrong == "20" else wrong)


def test_a_percentile_keeps_the_bounds_of_numbers():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Level(limit=-1)
    assert Level(limit="p5").config_hash() == Level().config_hash()


@pytest.mark.usefixtures("rows_at_once")
def test_later_filters_get_the_view_within_earlier_crops(tmp_path):
    first = NamedFilter("first", Level(crop=(0, 0, 70, 80)))
    second = NamedFilter("second", Level(crop=(20, 0, 80, 80), kind="second"))
    seen = NamedFilter("seen", ViewWidth())
    dataset = made(tmp_path, [[1.0], [2.0]], first.table, second.table, seen.table)
    select(dataset, [first, seen, second], RULES, "default")
    row = rows_of(dataset)[0]
    assert [s["score"] for s in row["scores"] if s["filter"] == "seen"] == [70.0]
    assert (row["crop_x"], row["crop_w"]) == (20, 50)


@pytest.mark.usefixtures("rows_at_once")
def test_vectors_come_as_rows_of_frames(tmp_path):
    near = NamedFilter("near", Near())
    dataset = made(tmp_path, [[0.0, 0.0], [0.0]])
    table = f"embeddings/tiny@{Tiny().config_hash()}"
    vectors = [
        {"id": "clip0", "frames": 2, "vector": [0.0, 1.0, 0.5, 0.5]},
        {"id": "clip1", "frames": 1, "vector": [1.0, 0.0]},
    ]
    dataset.write_part(table, "part-00000", vectors)
    dataset.write_part(table, "part-00001", [])
    failed = {"clip_id": "clip2", "source": "/a.mp4", "stage": Tiny().name, "error": "no frames"}
    dataset.write_part("quarantine", f"part-00001-tiny@{Tiny().config_hash()}", [failed])
    select(dataset, [near], RULES, "default")
    scores = [[s["score"] for s in row["scores"]] for row in rows_of(dataset)]
    assert scores == [[0.25], [1.0], []]
    assert rows_of(dataset)[2]["reasons"] == ["near: not measured: no frames"]


@pytest.mark.usefixtures("rows_at_once")
def test_balancing_gives_groups_their_shares_of_all_weight(tmp_path):
    level = NamedFilter("level", Level())
    dataset = made(tmp_path, [[2.0, 4.0, 6.0], [1.0, 99.0]], level.table)
    select(dataset, [level], RULES, "default", Balance("level", {"odd": 0.5}, power=0.5))
    weights = [row["weight"] for row in rows_of(dataset) if row["kept"]]
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])
    select(dataset, [level], RULES, "default", Balance("level", {}, power=0.5))
    weights = [row["weight"] for row in rows_of(dataset) if row["kept"]]
    assert weights[3] / sum(weights[:3]) == pytest.approx(1 / np.sqrt(3))
    assert sum(weights) == pytest.approx(4)


def test_slices_and_processes_change_no_byte(tmp_path, monkeypatch):
    level = NamedFilter("level", Level(limit="p80"))
    levels = np.arange(200.0).reshape(20, 10) % 17
    dataset = made(tmp_path, levels.tolist(), level.table)
    select(dataset, [level, NamedFilter("rank", Rank())], RULES, "one")
    monkeypatch.setattr("wanctl.curate.select.slices.slices_of.__defaults__", (25,))
    monkeypatch.setattr("wanctl.curate.select.passes._ROWS_PER_PROCESS", 100)
    select(dataset, [level, NamedFilter("rank", Rank())], RULES, "two")
    one, two = (dataset.path / f"selections/{name}.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in one.parent.iterdir()) == ["one.parquet", "two.parquet"]


def test_an_empty_set_gives_an_empty_selection(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    done = select(dataset, [NamedFilter("level", Level(limit="p10"))], RULES, "default")
    assert (done.total, done.kept) == (0, 0)
    assert dataset.read("selections/default").num_rows == 0
