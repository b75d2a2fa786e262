"""Several processes that share the tokens of a video have the gradients of one, on gloo."""

import json
from pathlib import Path

import pytest

from tests.integration.test_parallel import torchrun

WORKER = Path(__file__).with_name("gradient_worker.py")
TOLERANCE = 1e-5  # of a gradient's largest entry


def compare(processes, folder):
    done = torchrun(processes, WORKER, folder / "distances.json")
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((folder / "distances.json").read_text(encoding="utf-8"))
    far = {case: worst for case, worst in report["distances"].items() if not worst[1] <= TOLERANCE}
    assert far == {}
    assert report["without_exchange"] > 100 * TOLERANCE
    return report["distances"]


def test_two_processes_have_the_gradients_of_one(tmp_path):
    assert len(compare(2, tmp_path)) == 2 * (2 * 3 + 3)


@pytest.mark.slow
def test_four_processes_have_the_gradients_of_one(tmp_path):
    assert len(compare(4, tmp_path)) == 3 * (2 * 3 + 3)
