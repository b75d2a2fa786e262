"""What commands print off a terminal: rows with tabs, JSON, and the completion of shells."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from wanctl.checkpoint.registry.table import checkpoints
from wanctl.checkpoint.save import save_dit
from wanctl.cli.main import main
from wanctl.curate.registry import filter_names
from wanctl.exchange.layouts import LAYOUTS
from wanctl.listing import print_rows
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import shipped_recipes
from wanctl.video.encode import write_video


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    assert stop.value.code == 0, captured.err
    return captured.out


def records(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--json"))


def test_every_list_is_json_on_request(capsys):
    assert {each["recipe"] for each in records(capsys, "recipe", "list")} == set(shipped_recipes())
    filters = records(capsys, "filters", "list")
    assert {each["name"] for each in filters} == set(filter_names())
    assert {"name", "default", "description", "decides"} == set(filters[0]["keys"][0])
    assert {each["layout"] for each in records(capsys, "data", "layouts")} == set(LAYOUTS)
    models = {each["checkpoint"]: each for each in records(capsys, "weights", "list")}
    assert set(VARIANTS) < set(models) == set(checkpoints())
    official = models["wan2.1-t2v-1.3b"]
    assert official["hub_id"].startswith("Wan-AI/Wan2.1-T2V-1.3B,")
    assert (official["recipe"], official["runs"]) == ("wan2.1-t2v-1.3b", "yes")


def test_doctor_is_json_on_request(capsys):
    tables = records(capsys, "doctor")
    assert list(tables) == ["packages", "machine", "models", "filters", "captioners"]
    assert {each["filter"] for each in tables["filters"]} == set(filter_names())
    assert {"filter", "runs", "why_not"} == set(tables["filters"][0])


def test_a_plan_is_json_in_seconds_and_bytes(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (plan,) = records(capsys, "sample", "a cat", "--recipe", "wan2.1-t2v-14b", "--plan",
                      "--set", "device=cpu")  # fmt: skip
    assert (plan["variant"], plan["outputs"]) == ("wan2.1-t2v-14b", 1)
    assert plan["seconds"] == pytest.approx(sum(each["seconds"] for each in plan["stages"]))
    assert plan["host_bytes"] > 1e9
    assert plan["fits"] is (plan["shortage"] is None)
    rows = run(capsys, "sample", "a cat", "--recipe", "wan2.1-t2v-14b", "--plan", "--set",
               "device=cpu")  # fmt: skip
    table = [line.split("\t") for line in rows.splitlines() if "\t" in line]
    assert table[0][1:] == ["stage", "time", "host memory"]
    assert {len(row) for row in table} == {4}
    assert list(tmp_path.iterdir()) == []


def test_weights_are_inspected_as_json(capsys, tmp_path):
    save_dit(WanModel(VARIANTS["tiny"].dit), tmp_path / "dit")
    found = records(capsys, "weights", "inspect", str(tmp_path / "dit"))
    (part,) = found["parts"]
    assert part["part"] == "transformer"
    assert "tiny" in found["variants"]
    assert found["problems"] == []


def test_a_check_is_json_on_request(capsys, tmp_path):
    frames = np.full((40, 64, 96, 3), 90, np.uint8)
    write_video(tmp_path / "set" / "a.mp4", frames, 16.0)
    (tmp_path / "set" / "a.txt").write_text("a =cat", encoding="utf-8")
    options = ["--recipe", "tiny", "--out", str(tmp_path / "out")]
    (row,) = records(capsys, "data", "check", str(tmp_path / "set"), *options)
    assert row["state"] == "in"
    assert (row["width"], row["height"], row["captions"]) == (96, 64, 1)
    (line,) = run(capsys, "data", "check", str(tmp_path / "set"), *options).splitlines()
    assert len(line.split("\t")) == len(row)


def test_a_row_is_a_line_whatever_its_cells_hold(capsys):
    print_rows(("a", "b"), [("x\ty\nz", "\x1b[31m\u2028"), ("1", "2")], title="t")
    assert capsys.readouterr().out.splitlines() == ["t\tx\\ty\\nz\t\\x1b[31m\\u2028", "t\t1\t2"]


def test_quiet_may_stand_anywhere_and_leaves_the_results(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["--quiet", "recipe", "list"], ["recipe", "list", "--quiet"]):
        assert "tiny" in run(capsys, *arguments)
    with pytest.raises(SystemExit):
        main(["recipe", "list", "--", "--quiet"])
    assert "--quiet" in capsys.readouterr().err, "after -- it is an argument"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("wanctl cur", "curate"),
        ("wanctl data ex", "export"),
        ("wanctl caption --recipe ti", "tiny"),
    ],
)
def test_shells_complete_commands_and_recipes(words, expected):
    environment = {
        **os.environ,
        "_WANCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "wanctl"], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert expected in done.stdout.split(), done.stderr
