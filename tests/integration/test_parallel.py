"""Several processes make what one makes: on gloo, for every shape of transformer and both VAEs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("parallel_worker.py")

# Measured: at most 2.4e-6 over all shapes, layouts and precisions.
TOLERANCE = 1e-5


def torchrun(processes, *arguments, timeout=200):
    """Output of a run of several processes; they end when one does, and when time is up."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    command += ["--nproc-per-node", str(processes), sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def compare(processes, folder):
    torchrun(processes, WORKER, folder / "distances.json")
    found = json.loads((folder / "distances.json").read_text(encoding="utf-8"))
    too_far = {
        f"{layout}: {case}": far
        for layout, cases in found["distances"].items()
        for case, far in cases.items()
        if not far <= TOLERANCE
    }
    assert too_far == {}
    assert found["lonely"] > 100 * TOLERANCE
    return found["distances"]


def test_two_processes_make_what_one_makes(tmp_path):
    distances = compare(2, tmp_path)
    assert len(distances) == 5 * 2 + 2 + 1
    assert all(len(cases) >= 2 * 5 for name, cases in distances.items() if "guided" not in name)


@pytest.mark.slow
def test_four_processes_make_what_one_makes(tmp_path):
    assert len(compare(4, tmp_path)) == 6 * 2 + 2 + 1
