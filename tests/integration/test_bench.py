"""`wanctl filters bench` as a user meets it."""

import json

import pytest

from wanctl.bench import run as bench_run
from wanctl.cli import main as cli


def run(arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["filters", "bench", *arguments])
    return stop.value.code


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    assert run(["border", "--quick", "--out", str(out)]) in (0, None)
    return out


def test_figures_curves_and_page(out):
    (result,) = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    assert result["family"] == "border"
    assert result["unread"] == []
    assert sum(result["kinds"].values()) == result["cases"] == 20
    counts = result["counts"]
    assert counts["of"] == 20
    assert counts["true"] + counts["missed"] == 12
    assert {figure["what"] for figure in result["figures"]} >= {"crop IoU, mean"}
    page = (out / "bench.html").read_text(encoding="utf-8")
    assert "crop IoU, mean" in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "| `border` | 20 |" in (out / "bench.md").read_text(encoding="utf-8")
    for name in ("border-dose.svg", "border-precision-recall.svg"):
        assert (out / "curves" / name).read_text(encoding="utf-8").startswith("<svg")


def test_flat_bars_are_found_and_cropped(out):
    """The floor under the filter: plain black, grey and white bars are never missed."""
    (result,) = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    missed = {wrong["variant"] for wrong in result["wrong"] if wrong["what"] == "missed"}
    assert not missed & {"black", "grey", "white"}


def test_what_has_not_changed_is_not_run_again(out, monkeypatch, capsys):
    monkeypatch.setattr(bench_run, "curate", lambda *_: pytest.fail("curated again"))
    before = (out / "bench.json").read_bytes()
    assert run(["border", "--quick", "--out", str(out)]) in (0, None)
    assert (out / "bench.json").read_bytes() == before
    assert "border\tcrop IoU, mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bordre"], "did you mean 'border'"),
        (["--set", "imagenet=."], "no labelled set named 'imagenet'"),
        (["border", "--clips", "nowhere"], "nowhere: does not exist"),
        (["border", "--recipe", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_costs_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.slow
def test_thresholds_come_from_a_recipe(tmp_path, capsys):
    recipe = tmp_path / "mild.yaml"
    recipe.write_text("curate: {filters: {exposure: {max_blown: 0.99}}}\n", encoding="utf-8")
    arguments = ["exposure", "--quick", "--out", str(tmp_path / "out"), "--recipe", str(recipe)]
    assert run(arguments) in (0, None)
    (result,) = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    assert result["settings"] == {"max_blown": 0.99}
    over = [wrong for wrong in result["wrong"] if wrong["variant"] == "over-exposed"]
    assert len(over) == 2, "so high a bound lets over-exposed clips through"
