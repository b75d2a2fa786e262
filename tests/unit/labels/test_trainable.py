"""Labelling sheets and heads, over a data set with drawn vectors."""

import csv
import json

import numpy as np
import pytest

from wanctl.curate.registry import NamedFilter
from wanctl.curate.run import recipe_filters
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS, evidence_schema
from wanctl.errors import UserError
from wanctl.labels.run import fit, label
from wanctl.labels.sheet import MIN_CLIPS
from wanctl.labels.trainable import open_trainable
from wanctl.recipe.validate import load_checked
from wanctl_filters.duration import Duration
from wanctl_filters.quality.filter import Quality
from wanctl_filters.synthetic.filter import Synthetic

COUNT = 240


@pytest.fixture
def run(tmp_path):
    """A run folder of clips in two clusters, one of them short clips that `duration` drops."""
    rng = np.random.default_rng(0)
    dataset = DatasetDir.create_or_open(tmp_path / "run" / "dataset")
    empty = {"string": "x", "bool": False}
    plain = {field.name: empty.get(str(field.type), 0) for field in CLIPS}
    plain |= {"vfr": False, "has_audio": False, "width": 64, "height": 48, "num_frames": 50}
    plain |= {"time_base_num": 1, "time_base_den": 25, "end_pts": 50, "fps": 25.0}
    groups = np.arange(COUNT) % 3 == 0
    vectors = rng.normal(size=(COUNT, 16)) * 0.2
    vectors[:, 0] += np.where(groups, 1, -1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"{number:016x}" for number in rng.permutation(COUNT)]
    rows = [
        {**plain, "id": name, "source": f"film{number % 30}.mp4",
         "end_s": 1.0 if number % 10 == 0 else 5.0}
        for number, name in enumerate(names)
    ]  # fmt: skip
    dataset.write_part("clips", "part-00000", rows)
    embedder = Quality().embedder()
    embedded = [
        {"id": name, "frames": 1, "vector": vector.astype(np.float16)}
        for name, vector in zip(names, vectors, strict=True)
    ]
    table = f"embeddings/{embedder.name}@{embedder.config_hash()}"
    dataset.write_part(table, "part-00000", embedded)
    unknown = dict.fromkeys(Quality.evidence, 0.0)
    for named, columns in (
        (NamedFilter("quality", Quality()), lambda _: unknown),
        (NamedFilter("synthetic", Synthetic()), lambda _: {"tags": [], "marks": []}),
        (
            NamedFilter("duration", Duration(min_s=2)),
            lambda row: {"duration_s": row["end_s"], "num_frames": row["num_frames"]},
        ),
    ):
        schema = evidence_schema(named.filter.evidence)
        filled = [{"id": row["id"], **columns(row)} for row in rows]
        dataset.write_part(named.table, "part-00000", filled, schema=schema)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "curate:\n  decode: {workers: 1, timeout_s: 5}\n"
        "  filters:\n    duration: {min_s: 2}\n    quality: {clusters: 2}\n    synthetic: {}\n"
    )
    loaded = load_checked(str(recipe), (), ("curate",))
    # marks that follow the vectors: 1 to 5 along one direction
    place = np.argsort(np.argsort(vectors[:, 1]))
    marks = {name: str(1 + 5 * int(rank) // COUNT) for name, rank in zip(names, place, strict=True)}
    return loaded, tmp_path / "run", rows, marks


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def mark(path, marks):
    rows = read(path)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": marks.get(row["id"], "")} for row in rows)


def test_label_then_fit_then_use(run, capsys):
    loaded, out, rows, marks = run
    page = label(loaded, out, "quality", 5)
    sheet = page.with_suffix(".csv")
    picked = read(sheet)
    # two clusters, and a hundred clips at least; the short ones are not asked about
    assert len(picked) == MIN_CLIPS
    assert {row["class"] for row in picked} == {"c0", "c1"}
    assert sum(row["class"] == "c1" for row in picked) == MIN_CLIPS // 2
    short = {row["id"] for row in rows if row["end_s"] == 1.0}
    assert not short & {row["id"] for row in picked}
    assert len({row["source"] for row in picked if row["class"] == "c0"}) >= 15

    mark(sheet, marks)
    head = fit(loaded, out, "quality", sheet)
    printed = capsys.readouterr().out
    assert "srcc" in printed
    assert "plcc" in printed
    recipe = loaded.path.read_text().replace("clusters: 2", f"clusters: 2, head: {head}")
    loaded.path.write_text(recipe)
    again = load_checked(str(loaded.path), (), ("curate",))
    trainable = open_trainable(recipe_filters(again), DatasetDir.open(out / "dataset"), "quality")
    verdicts = trainable.named.filter.decide_many(trainable.batch)
    truth = [int(marks[name]) for name in trainable.batch.clips["id"].to_pylist()]
    assert np.corrcoef(verdicts.score, truth)[0, 1] > 0.8

    # writing the sheet again keeps what was marked
    label(loaded, out, "quality", 5)
    assert {row["id"]: row["label"] for row in read(sheet)} == {
        row["id"]: marks[row["id"]] for row in picked
    }


def test_the_page_holds_every_clip_and_no_markup_of_its_own(run):
    loaded, out, _, _ = run
    text = label(loaded, out, "synthetic", 5).read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["clips"]) == MIN_CLIPS
    assert data["choices"] == {"0": "filmed", "1": "generated"}
    assert "://" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\nx,7\n", r"sheet\.csv:2: label '7' is none of 1, 2, 3, 4, 5"),
        ("id,mark\nx,7\n", "wants the columns id and label, has id, mark"),
        ("id,label\nnobody,3\n", "none of its clips is in"),
        ("id,label\nx,\n", "0 labels are too few"),
    ],
)
def test_bad_sheets(run, tmp_path, text, message):
    loaded, out, _, _ = run
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(text)
    with pytest.raises(UserError, match=message):
        fit(loaded, out, "quality", sheet)


def test_which_filters_can_be_trained(run):
    loaded, out, _, _ = run
    with pytest.raises(UserError, match="duration takes no labels; those that do: quality, synth"):
        fit(loaded, out, "duration", None)
    with pytest.raises(UserError, match="no filter named 'category'"):
        fit(loaded, out, "category", None)
