"""`wanctl runs`: how far a run is, at every stage, and the command that goes on."""

import json
import shlex
import shutil
import tarfile
from pathlib import Path

import pytest

from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_ids
from wanctl.errors import UserError
from wanctl.lock import lock_alone
from wanctl.runs.run import runs

STORED = Path(__file__).parents[2] / "data" / "run_format_2.tar.xz"


@pytest.fixture
def run(tmp_path):
    """A run folder with a data set, captions, a trained VAE and transformer."""
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = [each for each in tmp_path.iterdir() if each.is_dir()]
    return folder


def only(folder):
    (record,) = runs(folder)
    return record


def test_a_finished_run_is_sampled_from(run):
    record = only(run)
    assert record["data"]["sources"] == 3
    assert record["data"]["kept"] == record["data"]["captioned"] == 4
    assert record["training"]["dit"].items() >= {"step": 6, "steps": 6, "written": True}.items()
    assert record["state"] == "trained"
    recipe = run / "dataset" / "recipe.yaml"
    assert record["next"] == f'wanctl sample "PROMPT" --recipe {recipe} --out {run}'


def remove(run, *patterns):
    for pattern in patterns:
        found = list(run.glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


STAGES = {
    "no transformer": (["dit"], "VAE is trained", "train-dit"),
    "half a transformer": (["dit/*.safetensors"], "train-dit: step 6 of 6", "train-dit"),
    "no networks, weights are given": (["dit", "vae"], "captioned", "train-dit"),
    "no captions": (["dit", "vae", "dataset/captions"], "captioned: 0 of 4 kept", "caption"),
    "nothing selected": (["dit", "vae", "dataset/selections"], "measured", "data select"),
    "a measurement is missing": (
        ["dataset/evidence/duration*/part-00000.parquet"], "measured: ", "curate",
    ),
    "a part is not split": (
        ["dataset/clips/part-00000.parquet"], "split: 0 of 1 parts", "curate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_the_next_command_of_each_stage(stage, run):
    patterns, state, command = STAGES[stage]
    remove(run, *patterns)
    record = only(run)
    assert record["state"].startswith(state)
    assert record["next"].startswith(f"wanctl {command} ")
    words = shlex.split(record["next"])
    assert words[words.index("--out") + 1] == str(run)


def test_without_given_weights_the_vae_is_trained_first(run):
    remove(run, "dit", "vae")
    file = run / "dataset" / "dataset.json"
    description = json.loads(file.read_text())
    recipe = description["recipe"].replace("weights: start/dit", "weights: null")
    recipe = recipe.replace("vae_weights: start/vae", "vae_weights: null")
    assert recipe.count("weights: null") == 5
    file.write_text(json.dumps({**description, "recipe": recipe}))
    assert only(run)["next"].startswith("wanctl train-vae ")


def test_captions_of_all_backends_count_together(run):
    remove(run, "dataset/captions", "dit", "vae")
    dataset = DatasetDir.open(run / "dataset")
    ids = kept_ids(dataset, "default")
    halves = {"sidecar@v1": ids[:3], "template@v1": ids[2:]}
    for name, half in halves.items():
        dataset.write_part(f"captions/{name}", "part-00000", [{"id": i, "text": "a"} for i in half])
    record = only(run)
    assert record["data"]["captioned"] == len(ids) == 4
    assert record["state"] == "captioned"


def test_a_run_in_work_names_its_process_and_is_not_disturbed(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert only(run)["process"] == ""
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    release = lock_alone(run / "dataset")
    record = only(run)
    assert record["state"] == f"process {record['process']} is working on it"
    assert record["next"] == ""
    release()
    assert only(run)["process"] == ""


def test_a_damaged_data_set_does_not_hide_the_others(run, tmp_path):
    (tmp_path / "other" / "dataset").mkdir(parents=True)
    (tmp_path / "other" / "dataset" / "dataset.json").write_text("{")
    records = {Path(record["folder"]).name: record for record in runs(tmp_path)}
    assert records["other"]["state"].startswith("damaged: ")
    assert records[run.name]["state"] == "trained"


def test_folders_without_a_run_are_one_line(tmp_path):
    for folder, message in (
        (tmp_path, "holds no run folder and no data set; `wanctl curate FOLDER` makes one"),
        (tmp_path / "nowhere", "no such folder"),
    ):
        with pytest.raises(UserError, match=message):
            runs(folder)


def test_the_command_prints_rows_and_json(run, capsys, monkeypatch):
    monkeypatch.chdir(run.parent)
    for arguments in (["runs", "."], ["runs", ".", "--json"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    rows, _, text = capsys.readouterr().out.partition("[\n")
    headers, line = rows.splitlines()
    assert dict(zip(headers.split("\t"), line.split("\t"), strict=True))["dit"] == "6 of 6"
    (record,) = json.loads("[" + text)
    assert record["data"]["clips"] == 6
