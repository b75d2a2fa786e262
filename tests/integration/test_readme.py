"""Commands, recipes, errors and paths on the front page work. `make demo` runs the commands."""

import re
import shlex
from pathlib import Path

import pytest

from wanctl.cli.main import main
from wanctl.recipe.load import RecipeError
from wanctl.recipe.validate import load_checked

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def commands() -> list[list[str]]:
    """Return every `wanctl` command of the page; `a | b | c` stands for three commands."""
    found = []
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["wanctl"]:
            continue
        if "|" in words:
            found += [[words[1], verb] for verb in words[2:] if verb != "|"]
        else:
            found.append(words[1:])
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    assert "Usage: wanctl" in capsys.readouterr().out


def test_every_make_target_is_one():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    pages = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for names in re.findall(r"`make ([a-z -]+)`", pages):
        assert set(names.split()) <= set(targets), names
    assert re.findall(r"^make (\w+)", "".join(blocks("sh")), re.M) == ["demo", "test"]


def test_the_recipe_on_the_page_is_one(tmp_path, monkeypatch):
    (text,) = blocks("yaml")
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text, encoding="utf-8")
    loaded = load_checked("mine.yaml")
    assert loaded.recipe.train_dit.steps == 2000


def test_the_mistakes_on_the_page_are_printed_like_that(tmp_path, monkeypatch):
    (expected,) = [block for block in blocks("") if block.startswith("mine.yaml")]
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "curate:\n  filter: {}\n\ntrain_dit:\n  steps: 2k\n  optimizer: {lr: 0}\n", encoding="utf-8"
    )
    with pytest.raises(RecipeError) as error:
        load_checked("mine.yaml")
    assert str(error.value) == expected.strip()


def test_the_tree_on_the_page_exists():
    tree = next(block for block in blocks("") if block.startswith("wanctl/"))
    for line in tree.splitlines():
        name = line.split()[0]
        folder = ROOT / "wanctl" if line.startswith("  ") else ROOT
        assert (folder / name).exists(), name


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target
