"""Data sets of other trainers, trained on as they are."""

import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.description import DatasetError
from wanctl.data.export import frames_of, kept_clips
from wanctl.exchange.external.clips import LayoutError
from wanctl.exchange.imports import importing
from wanctl.exchange.imports.importing import DecodeOptions, import_dataset
from wanctl.exchange.imports.run import prepare_dataset
from wanctl.recipe.load import load_recipe
from wanctl.video.probe import ScanBounds

DECODE = DecodeOptions(1, 60, 2**31, ScanBounds())


@pytest.fixture
def video(make_video):
    return make_video("clip.mp4")


@pytest.fixture
def foreign(tmp_path, video):
    """metadata.csv with two videos, one of them twice, an image, and a file that is none."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    shutil.copy(video, folder / "a.mp4")
    (folder / "b.mp4").write_bytes(video.read_bytes() + b"\0" * 8)  # other content
    Image.fromarray(np.full((64, 96, 3), 90, np.uint8)).save(folder / "still.png")
    (folder / "broken.mp4").write_bytes(b"no video")
    rows = ["video,caption", "a.mp4,a red ball", "b.mp4,", "a.mp4,a ball", "still.png,a wall",
            "broken.mp4,text", "gone.mp4,text"]  # fmt: skip
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def run_import(source, target):
    import_dataset(source, target, "default", recipe="seed: 0\n", decode=DECODE)
    return DatasetDir.open(target)


def test_files_become_clips_with_the_captions_of_the_index(foreign, tmp_path, caplog):
    dataset = run_import(foreign, tmp_path / "run/dataset")
    clips = {row["source"].rpartition("/")[2]: row for row in kept_clips(dataset, "default")}
    assert clips.keys() == {"a.mp4", "b.mp4", "still.png"}
    assert frames_of(clips["still.png"], 16) == 1
    assert frames_of(clips["a.mp4"], 25) > 5
    captions = read_captions(dataset, ["sidecar"])
    assert [each.text for each in captions[clips["a.mp4"]["id"]]] == ["a red ball", "a ball"]
    assert [each.text for each in captions[clips["still.png"]["id"]]] == ["a wall"]
    assert clips["b.mp4"]["id"] not in captions
    for words in ("broken.mp4", "gone.mp4: no such file"):
        assert words in caplog.text


def test_a_second_import_reads_new_files_only(foreign, tmp_path, monkeypatch):
    target = tmp_path / "run/dataset"
    run_import(foreign, target)
    before = {path: path.read_bytes() for path in target.rglob("*.parquet")}
    (foreign / "new.mp4").write_bytes((foreign / "a.mp4").read_bytes() + b"\1" * 8)
    scanned = []
    real = importing.DecodePool.map

    def spy(self, function, tasks, **keys):
        tasks = list(tasks)
        scanned.extend(task[0].rpartition("/")[2] for task in tasks)
        return real(self, function, tasks, **keys)

    monkeypatch.setattr(importing.DecodePool, "map", spy)
    run_import(foreign, target)
    assert not scanned
    assert {path: path.read_bytes() for path in target.rglob("*.parquet")} == before
    with (foreign / "metadata.csv").open("a") as file:
        file.write("\nnew.mp4,another ball")
    dataset = run_import(foreign, target)
    assert scanned == ["new.mp4"]
    assert len(kept_clips(dataset, "default")) == 4
    rows = (foreign / "metadata.csv").read_text().replace("b.mp4,\n", "")
    (foreign / "metadata.csv").write_text(rows)
    assert len(kept_clips(run_import(foreign, target), "default")) == 3


def test_members_of_a_tar_are_unpacked(tmp_path, video):
    folder = tmp_path / "shards"
    folder.mkdir()
    (tmp_path / "7.json").write_text(json.dumps({"caption": "a ball"}))
    with tarfile.open(folder / "000.tar", "w") as tar:
        tar.add(video, "7.mp4")
        tar.add(tmp_path / "7.json", "7.json")
    dataset = run_import(folder, tmp_path / "run/dataset")
    (clip,) = kept_clips(dataset, "default")
    assert [each.text for each in read_captions(dataset, [])[clip["id"]]] == ["a ball"]


def test_repeats_of_a_folder_are_weights(tmp_path, foreign):
    toml = tmp_path / "dataset.toml"
    (foreign / "metadata.csv").unlink()
    (foreign / "broken.mp4").unlink()
    more = tmp_path / "more"
    more.mkdir()
    Image.fromarray(np.full((64, 96, 3), 10, np.uint8)).save(more / "dark.png")
    block = "[[directory]]\npath = '{}'\nnum_repeats = {}\n"
    toml.write_text(block.format(foreign, 5) + block.format(more, 0.5))
    dataset = run_import(toml, tmp_path / "run/dataset")
    weights = {
        row["source"].rpartition("/")[2]: row["weight"] for row in kept_clips(dataset, "default")
    }
    assert weights == {"a.mp4": 5, "b.mp4": 5, "still.png": 5, "dark.png": 0.5}
    toml.write_text(block.format(foreign, -1))
    with pytest.raises(
        LayoutError, match=r"\[\[directory\]\] 1: num_repeats: got -1, need a number"
    ):
        run_import(toml, tmp_path / "run/dataset")


def test_an_import_touches_no_other_data_set(foreign, tmp_path):
    target = tmp_path / "run/dataset"
    DatasetDir.create_or_open(target)
    with pytest.raises(DatasetError, match=r"holds a data set of its own.*choose another --out"):
        run_import(foreign, target)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="no layout that is known"):
        run_import(tmp_path / "empty", tmp_path / "other/dataset")


def test_the_recipe_trains_on_the_imported_data_set(foreign, tmp_path):
    loaded = load_recipe("tiny", [f"dataset.path={foreign}"])
    recipe, prepare = prepare_dataset(loaded, tmp_path / "run")
    assert recipe.recipe.dataset.path is None
    assert prepare is not None
    prepare()
    assert DatasetDir.open(tmp_path / "run/dataset").recipe == recipe.dump()
    ours = load_recipe("tiny", [f"dataset.path={tmp_path / 'run/dataset'}"])
    assert prepare_dataset(ours, tmp_path / "run") == (ours, None)
