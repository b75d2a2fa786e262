"""What documents and comments say of the tree is true: paths exist, the picture is current."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
MODULES = sorted([*ROOT.glob("wanctl/**/*.py"), *ROOT.glob("filters/**/*.py")])
# a path of the checkout: wanctl/train/loop.py, docs/adr/0007, filters/wanctl_filters/motion/
FOLDERS = "wanctl|docs/adr|tests|recipes|filters/wanctl_filters"
PATH = re.compile(rf"(?<![\w./{{*-])(?:{FOLDERS})/[\w./-]*\w")
PLACEHOLDER = re.compile(r"/[A-Z]{4,}\b")


def _paths(text: str) -> set[str]:
    return {path for path in PATH.findall(text) if not PLACEHOLDER.search(path)}


def _exists(name: str) -> bool:
    path = ROOT / name
    numbered = bool(re.fullmatch(r"docs/adr/\d{4}", name)) and any(
        path.parent.glob(f"{path.name}-*.md")
    )
    return path.exists() or numbered


@pytest.mark.parametrize("page", [*PAGES, *MODULES], ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_are_named_exist(page):
    missing = [
        name for name in sorted(_paths(page.read_text(encoding="utf-8"))) if not _exists(name)
    ]
    assert not missing


@pytest.mark.parametrize("script", ["draw_architecture.py", "write_checkpoints.py"])
def test_what_a_script_writes_is_current(script):
    done = subprocess.run(
        [sys.executable, f"docs/{script}", "--check"], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0, "run `make docs`"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
