"""Fixtures: a data set to review, and a review server of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "report"))
sys.path.insert(0, str(Path(__file__).parent))

from review_client import running
from review_set import make_set


@pytest.fixture
def dataset(tmp_path):
    return make_set(tmp_path)


@pytest.fixture
def client(dataset):
    with running(dataset) as client:
        yield client
