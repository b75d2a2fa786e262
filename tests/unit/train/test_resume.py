"""Runs of two networks, of one and of two processes: killed and continued, and compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("resume_worker.py")


@pytest.mark.parametrize("moments", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_runs_continue_to_the_bit_and_processes_add_up(tmp_path, moments):
    """Half of the moments lie in the middle of a save; the other half are drawn from all calls."""
    arguments = [sys.executable, str(WORKER), str(tmp_path), str(moments)]
    worker = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert worker.returncode == 0, worker.stderr[-4000:]
    results = json.loads((tmp_path / "results.json").read_text())
    for processes in (1, 2):
        ends = results[f"kills_{processes}"]
        assert len(ends) == moments
        assert all(equal for _, equal in ends), ends
    assert results["equal"], "two processes differ from one that accumulates two micro-batches"
    # of weights up to 1, where sums are grouped otherwise
    for name in ("accumulated", "chunks"):
        assert results[name] < 1e-5, name
