"""Rules of the code base that no linter knows. Imports between packages are in pyproject.toml."""

import ast
import io
import json
import re
import resource
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
import typer

from wanctl.cli.main import app
from wanctl.recipe.validate import schema_text

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path
    for folder in ("wanctl", "filters/wanctl_filters")
    for path in (ROOT / folder).rglob("*.py")
)
PACKAGES = sorted(path.parent for path in MODULES if path.name == "__init__.py")
MAX_LINES = 350
MAX_FILES = 15


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_file_is_one_idea(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in {"utils", "helpers", "common"}
    assert text.startswith('"""') or not text, "a module opens by saying what it is for"


def test_a_folder_holds_few_files():
    for top in ("wanctl", "filters/wanctl_filters"):
        for folder in (ROOT / top, *(ROOT / top).rglob("*/")):
            if "__pycache__" not in folder.parts:
                files = [path.name for path in folder.iterdir() if path.is_file()]
                assert len(files) <= MAX_FILES, relative(folder)


@pytest.mark.parametrize("package", PACKAGES, ids=relative)
def test_a_package_says_what_lives_there_and_where_to_start(package):
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    named = re.findall(r"`([\w/]+(?:\.py|/))`", docstring)
    assert len(docstring.split()) >= 8, docstring
    assert named, "names the module or package to start with"
    for path in named:
        assert (package / path).exists() or (ROOT / path).exists(), path


ONE_PLACE = {
    # FFmpeg follows lists to other files, Pillow runs Ghostscript: one module guards each
    r"\bav\.open\(|avformat|VideoCapture\(": {
        "wanctl/video/opening.py",
        "wanctl/video/encode.py",  # writes
    },
    r"\bImage\.open\(|\bimread\(|read_image\(.*torchvision": {"wanctl/video/image_files.py"},
    r"\bdecord\.|from decord\b|import decord\b": {"wanctl/data/clips.py"},
}


def test_strangers_files_are_opened_in_one_place():
    for pattern, places in ONE_PLACE.items():
        found = {relative(p) for p in MODULES if re.search(pattern, p.read_text(encoding="utf-8"))}
        assert found == places
    writing = (ROOT / "wanctl/video/encode.py").read_text(encoding="utf-8")
    assert re.findall(r"av\.open\(.*", writing) == re.findall(r"av\.open\(.*\"w\".*", writing)


OLD_NAMES = (
    "Alone",
    "Asked",
    "Asking",
    "Board",
    "Crew",
    "Maker",
    "PARKED",
    "Pace",
    "ReadContext",
    "Reading",
    "Shelf",
    "Shelve",
    "Site",
    "Team",
    "TokenSplit",
    "Trainee",
    "Turn",
    "Watch",
    "Wish",
    "_Wish",
    "_tell",
    "_told",
    "aloud",
    "aside",
    "asked",
    "board",
    "covering",
    "is_beside",
    "let_go",
    "on_white",
    "read_context",
    "speak",
    "stretched",
    "told",
    "use_beside",
)
"""Identifiers that the field's terms have replaced; CONTRIBUTING.md lists the terms."""
OLD_MODULES = (
    "beside", "cadence", "channel", "crew", "draws", "exits", "forecast", "look",
    "marked", "moments", "names", "needs", "partial", "reads", "serve", "shelf", "spans", "team",
    "whole",
)  # fmt: skip
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "filters/*.md", "recipes/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)


def test_modules_have_no_old_names():
    for path in (*MODULES, *(ROOT / "tests").rglob("*.py")):
        assert path.stem.removeprefix("test_") not in OLD_MODULES, relative(path)
    assert not [relative(path) for path in MODULES if path.stem == "split"]


def test_code_has_no_old_names():
    used = {
        f"{relative(path)}: {token.string}"
        for path in (*MODULES, *(ROOT / "tests").rglob("*.py"))
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        if token.type == tokenize.NAME and token.string in OLD_NAMES
    }
    assert sorted(used) == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages_have_no_old_names(page):
    spans = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
    words = {word for span in spans for word in re.findall(r"\w+", span)}
    modules = {word for span in spans for word in re.findall(r"(\w+)\.py\b", span)}
    assert sorted(words & set(OLD_NAMES)) == []
    assert sorted(modules & set(OLD_MODULES)) == []


SURFACE = {
    "": {"--debug", "--quiet", "--version", "--install-completion", "--show-completion"},
    "curate": {"folder", "--shard", "--dry-run", "--retry", "--recipe", "--set", "--out"},
    "caption": {"--shard", "--retry", "--recipe", "--set", "--out"},
    "train-vae": {"--recipe", "--set", "--out"},
    "train-dit": {"--recipe", "--set", "--out"},
    "sample": {"prompt", "--repeat", "--plan", "--json", "--recipe", "--set", "--out"},
    "doctor": {"--json"},
    "runs": {"folder", "--json"},
    "recipe list": {"--json"},
    "recipe show": {"recipe", "--set"},
    "recipe check": {"recipes", "--set"},
    "recipe schema": set(),
    "data select": {"--recipe", "--set", "--out"},
    "data report": {"--recipe", "--set", "--out"},
    "data check": {"path", "--csv", "--json", "--recipe", "--set", "--out"},
    "data cache": {"--delete-unused", "--json", "--recipe", "--set", "--out"},
    "data caption-eval": {
        "captioners", "--labels", "--counterfactual", "--compare", "--max-clips", "--json",
        "--recipe", "--set", "--out",
    },
    "data caption-export": {"to", "--from", "--recipe", "--set", "--out"},
    "data layouts": {"--json"},
    "data review": {"--host", "--port", "--no-browser", "--recipe", "--set", "--out"},
    "data export": {"to", "--layout", "--recipe", "--set", "--out"},
    "data text-images": {"to", "--recipe", "--set", "--out"},
    "filters list": {"--json"},
    "filters label": {"name", "--each", "--recipe", "--set", "--out"},
    "filters fit": {"name", "labels", "--features", "--recipe", "--set", "--out"},
    "weights convert": {
        "source",
        "to",
        "--layout",
        "--dtype",
        "--max-shard-size",
        "--part",
    },
    "camera preview": {"--recipe", "--set", "--out"},
    "weights list": {"paths", "--cached", "--json"},
    "weights inspect": {"source", "--json"},
    "weights check": {"source"},
    "filters bench": {"names", "--clips", "--set", "--recipe", "--quick", "--out"},
    "eval vae": {
        "vaes", "--clips", "--max-clips", "--frames", "--size", "--fps", "--chunked", "--dtype",
        "--device", "--fvd", "--lpips", "--json", "--out",
    },
}  # fmt: skip
"""Command -> its arguments and options. A key of the recipe gets no flag."""


def test_the_command_line_holds_no_more_than_this():
    surface = {"": _parameters(typer.main.get_command(app))}

    def walk(command, name: str) -> None:
        for key, child in getattr(command, "commands", {}).items():
            path = f"{name} {key}".strip()
            if hasattr(child, "commands"):
                walk(child, path)
            else:
                surface[path] = _parameters(child)

    walk(typer.main.get_command(app), "")
    assert surface == SURFACE


def _parameters(command) -> set[str]:
    names = set()
    for each in command.params:
        longest = max(each.opts, key=len)
        if longest != "--help":
            names.add(longest if each.param_type_name == "option" else each.name)
    return names


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from wanctl.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    modules = set(re.findall(r"'(\w+)'", done.stdout.splitlines()[-1]))
    heavy = {"torch", "numpy", "pyarrow", "pydantic", "transformers", "cv2", "av", "yaml"}
    assert "typer" in modules
    assert modules & heavy == set()


def test_recipe_mistakes_do_not_import_torch():
    code = (
        "import sys\n"
        "from wanctl.cli.main import main\n"
        "try:\n    main(['curate', '.', '--recipe', 'tiny', '--set', 'seed=x'])\n"
        "except SystemExit:\n    pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


def test_help_is_quick():
    """Hardly slower than the smallest Typer program, by CPU time, the best of three.

    Wall-clock time depends on the load of the machine; on an idle one it is under 0.5 s.
    """
    smallest = "import typer\ntyper.run(lambda: None)"
    ours = min(_cpu_s("-m", "wanctl", "--help") for _ in range(3))
    theirs = min(_cpu_s("-c", smallest, "--help") for _ in range(3))
    assert ours < 1.5 * theirs


def _cpu_s(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_schema_for_editors_is_current():
    written = (ROOT / "recipes" / "schema.json").read_text(encoding="utf-8")
    assert json.loads(written) == json.loads(schema_text()), "run `make schema`"


@pytest.mark.parametrize("package", ["wanctl", "filters/wanctl_filters"])
def test_packages_re_export_nothing(package):
    for path in (ROOT / package).rglob("__init__.py"):
        assert not re.search(r"^(from|import) ", path.read_text(encoding="utf-8"), re.M), path
