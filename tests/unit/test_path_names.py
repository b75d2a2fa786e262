"""Names that become paths: 20 tricks and more, in every place that joins a name to a folder."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from wanctl.caption.backends import CaptionError, caption_table
from wanctl.checkpoint.find import find_components
from wanctl.curate.registry import FilterError, filter_class
from wanctl.data.dataset import DatasetDir, DatasetError
from wanctl.data.export import kept_clips
from wanctl.errors import UserError
from wanctl.exchange.manifest import ExportError, ExportManifest
from wanctl.path_names import inside, is_component, name_problem, plain_name
from wanctl.recipe.load import RecipeError
from wanctl.recipe.validate import load_checked
from wanctl.train.checkpoint import CheckpointDamagedError, read_checkpoint

TRICKS = [
    "..",
    ".",
    "",
    "../clips/part-00000",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..\\..\\windows",
    "C:\\windows",
    "C:x",
    "a\0b",
    "a\nb",
    "a\tb",
    "~",
    "~root",
    "%2e%2e",
    "%2e%2e%2fclips",
    "..%2fclips",
    "$HOME",
    "`id`",
    "CON",
    "nul.txt",
    "com1",
    "COM¹",
    "aux .x",
    "name.",
    "name ",
    " name",
    "-rf",
    ".hidden",
    ".lock",
    "a" * 101,
    "中" * 34,
    "a∕b",
    "a／b",
    "．．",
    "a\u2028b",
    "a\u202eb",
    "a\u200bb",
    "\ud800",
    "a:b",
    "a*b",
    "a?b",
    "a|b",
    "<a>",
    "sel@1",
]
PLAIN = [
    "default",
    "v1.2",
    "best of 2026",
    "a+b=c",
    "默认",
    "strict_2",
    "über-1",
    "1",
    "my set (2)",
]
# what even a table that exists already must not be named
ESCAPES = ["..", ".", "", "../clips/part-00000", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\nb"]

opened: list[str] = []
recording = False


def _record(event, arguments):
    if recording and event in ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir"):
        paths = arguments[: 2 if event == "os.rename" else 1]  # what follows are modes
        opened.extend(os.fsdecode(each) for each in paths if isinstance(each, str | bytes))


sys.addaudithook(_record)


@pytest.fixture
def opens():
    """Paths that the test opens, makes, renames or deletes."""
    global recording
    opened.clear()
    recording = True
    yield opened
    recording = False


def outside(paths, folder):
    """Paths that are neither below `folder` nor code."""
    root = str(Path(__file__).parents[2])
    code = (str(folder), sys.prefix, sys.base_prefix, root, "/proc", "/dev", "/sys")
    real = {os.path.realpath(path) for path in paths if "\0" not in path}
    return sorted(path for path in real if not path.startswith((*code, "/usr")))


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_is_no_plain_name(name):
    assert "\n" not in name_problem(name)
    assert name_problem(name).startswith("got ")
    with pytest.raises(ValueError, match="got "):
        plain_name(name)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_names_are_allowed(name):
    assert plain_name(name) == name
    assert is_component(name)


def write_recipe(folder, selection):
    path = folder / "mine.yaml"
    path.write_text(f"dataset:\n  selection: {json.dumps(selection)}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", TRICKS)
def test_a_recipe_with_a_trick_is_refused_where_it_says_so(name, tmp_path, opens):
    recipe = write_recipe(tmp_path, name)
    with pytest.raises(RecipeError) as caught:
        load_checked(str(recipe), (), ())
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert "mine.yaml:2: dataset.selection: got " in lines[0] or name == "\ud800"
    assert outside(opens, tmp_path) == []


@pytest.mark.parametrize("stem", ["..", ".", "-rf", "con", "a:b", "name ", "a\nb", "%2e%2e", "~"])
def test_a_recipe_file_that_names_no_folder_needs_out(stem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"{stem}.yaml"
    path.write_text("seed: 1\n")
    loaded = load_checked(str(path), (), ())
    assert loaded.out_dir(tmp_path / "out") == tmp_path / "out"
    if name_problem(loaded.name):
        with pytest.raises(UserError, match="--out"):
            loaded.out_dir(None)
    else:  # pathlib's stem of `..yaml` is `..yaml`
        assert loaded.out_dir(None).resolve().parent == tmp_path / "runs"


@pytest.fixture
def dataset(tmp_path):
    made = DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")
    made.write_part("clips", "part-00000", [{"id": "a1", "source": "/x.mp4", "content_hash": "h"}])
    return made


@pytest.mark.parametrize("name", ESCAPES)
def test_no_table_and_no_part_lies_elsewhere(name, dataset, tmp_path, opens):
    for table, part in (
        (f"selections/{name}", ""),
        (f"captions/{name}@v1/..", "part-00000"),
        (f"captions/x@{name}", "part-00000") if "/" in name else (f"captions/{name}", "part-00000"),
        (f"evidence/{name}", "part-00000"),
        ("clips", name or ".."),
    ):
        for use in (
            lambda: dataset.write_part(table, part, [{"id": "a"}]),  # noqa: B023
            lambda: dataset.has_part(table, part),  # noqa: B023
            lambda: dataset.read(table, parts=[part]),  # noqa: B023
        ):
            with pytest.raises((DatasetError, ValueError)):
                use()
    assert outside(opens, tmp_path) == []
    assert dataset.read("clips")["id"].to_pylist() == ["a1"]


@pytest.mark.parametrize("name", TRICKS)
def test_a_foreign_dataset_json_names_no_other_part(name, dataset, tmp_path):
    path = dataset.path / "dataset.json"
    record = json.loads(path.read_text())
    record["sources"] = [{"uri": "/x.mp4", "size": 1, "mtime_ns": 0, "part": name}]
    path.write_text(json.dumps(record))
    with pytest.raises(DatasetError, match="part-00000"):
        DatasetDir.open(dataset.path)


@pytest.mark.parametrize("name", [*ESCAPES, "~", "-rf"])
def test_an_id_of_a_clip_names_no_file_elsewhere(name, dataset, tmp_path):
    dataset.write_part("clips", "part-00001", [{"id": name, "source": "/y.mp4"}])
    dataset.write_part("selections/default", "", [{"id": name, "kept": True}])
    with pytest.raises(DatasetError, match="no id of a clip"):
        kept_clips(dataset, "default")


@pytest.mark.parametrize("name", [each for each in ESCAPES if each not in ("", ".", "..")])
def test_a_captioners_key_names_no_other_folder(name):
    with pytest.raises(CaptionError, match="key"):
        caption_table("mine", name)
    assert caption_table("mine", "v1") == "captions/mine@v1"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "CON", "-x"])
def test_a_plug_in_filter_has_a_plain_name(name, monkeypatch):
    monkeypatch.setattr("wanctl.curate.registry._plugins", lambda: {name: [None]})
    with pytest.raises(FilterError, match="name of a filter"):
        filter_class(name)


@pytest.mark.parametrize("name", ["../victim", "/etc/passwd", "a/../../victim", "..\\victim", ""])
def test_an_export_deletes_nothing_elsewhere(name, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (folder / "export.json").write_text(json.dumps({"files": [name], "left_out": {}}))
    with pytest.raises(ExportError):
        ExportManifest(folder)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["../b.safetensors", "/etc/passwd", "a/../../b.safetensors"])
def test_an_index_of_shards_opens_nothing_elsewhere(name, tmp_path, opens):
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "b.safetensors")
    index = {"weight_map": {"x": name}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"_class_name": "WanModel", "dim": 8}))
    opens.clear()
    with pytest.raises(UserError, match="outside of its folder"):
        find_components(str(folder))
    assert [path for path in opens if path.endswith(("b.safetensors", "passwd"))] == []


def test_a_manifest_of_a_checkpoint_opens_nothing_elsewhere(tmp_path, opens):
    folder = tmp_path / "step-000001"
    folder.mkdir()
    (tmp_path / "victim").write_text("x")
    files = {"../victim": {"bytes": 1, "sha256": "0"}}
    manifest = {"format": 1, "step": 1, "identity": {}, "state": {}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    opens.clear()
    with pytest.raises(CheckpointDamagedError, match="another folder"):
        read_checkpoint(folder)
    assert [path for path in opens if path.endswith("victim")] == []


def test_relative_names_stay_in_their_folder(tmp_path):
    assert inside(tmp_path, "a/b.mp4") == tmp_path / "a" / "b.mp4"
    for name in ("../a", "/a", "a/../../b", "a//b", "a\\..\\b", "C:a", "a\0", ""):
        assert inside(tmp_path, name) is None


def test_a_captioners_key_shows_no_api_key(monkeypatch):
    with pytest.raises(CaptionError, match="hash it") as caught:
        caption_table("mine", "gpt-sk-abcdefghijklmnopqrstu")
    assert "abcdefgh" not in str(caught.value)
    monkeypatch.setenv("MINE_API_KEY", "open-sesame")
    with pytest.raises(CaptionError, match="hash it"):
        caption_table("mine", "v1-open-sesame")
