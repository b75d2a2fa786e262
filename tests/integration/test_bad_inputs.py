"""Mistakes that only a running command can find: paths, data sets, weights, devices.

Mistakes in recipes and on the command line are in tests/unit/test_cli.py.
"""

import pytest

from wanctl.cli.main import main

NO_FILTERS = ["--set", "curate.filters={}"]

BAD_INPUTS = {
    "no such footage": (
        ["curate", "nowhere", "--recipe", "tiny", *NO_FILTERS],
        "nowhere: ",
    ),
    "footage is a file": (["curate", "words.txt", "--recipe", "tiny", *NO_FILTERS], "words.txt: "),
    "no footage in it": (["curate", "empty", "--recipe", "tiny", *NO_FILTERS], "empty"),
    "nothing to select": (
        ["data", "select", "--recipe", "tiny", *NO_FILTERS],
        "no data set there (no dataset.json); `wanctl curate FOLDER` makes one",
    ),
    "nothing to report": (["data", "report", "--recipe", "tiny", *NO_FILTERS], "no data set there"),
    "nothing to export": (["data", "export", "x", "--recipe", "tiny"], "no data set there"),
    "nothing to train the VAE on": (["train-vae", "--recipe", "tiny"], "no data set there"),
    "nothing to train the transformer on": (["train-dit", "--recipe", "tiny"], "no data set there"),
    "no such device": (
        ["train-vae", "--recipe", "tiny", "--set", "device=cuda:99"],
        "device: got 'cuda:99', but this machine has",
    ),
    "no device at all": (
        ["sample", "a cat", "--recipe", "tiny", "--set", "device=gpu"],
        "device: got 'gpu'; allowed are auto, cpu, cuda, cuda:N",
    ),
    "no words": (["sample", " ", "--recipe", "tiny"], "prompt"),
    "no file of prompts": (["sample", "nowhere.txt", "--recipe", "tiny"], "nowhere.txt: "),
    "an empty file of prompts": (["sample", "words.txt", "--recipe", "tiny"], "words.txt: "),
    "nothing trained": (
        ["sample", "a cat", "--recipe", "tiny"],
        "no transformer weights: looked in",
    ),
    "no official weights": (["sample", "a cat"], "`hf download Wan-AI/Wan2.1-T2V-1.3B`"),
    "weights that are none": (
        ["sample", "a cat", "--recipe", "tiny", "--set", "model.weights=empty"],
        "empty: holds no weights known here",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_mistake_prints_one_line_and_exits_with_2(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").write_text("\n \n", encoding="utf-8")
    arguments, expected = BAD_INPUTS[name]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out) == (2, "")
    (line,) = captured.err.splitlines()
    assert expected in line
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"empty", "words.txt"}, "nothing is half-written"
