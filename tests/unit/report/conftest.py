"""Fixtures: a synthetic data set with its report, and a browser."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Page
from report_set import Made, make_report


@pytest.fixture
def make(tmp_path) -> Callable[..., Made]:
    """Makes a data set of so many clips from so many sources, and its report."""

    def made(clips: int = 40, sources: int = 6, *, picture: bytes | None = None) -> Made:
        return make_report(tmp_path / f"run <{clips}>", clips, sources, picture)

    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """One tab for all tests of a module."""
    with Page() as page:
        yield page
