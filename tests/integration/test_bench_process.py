"""`make bench` runs every benchmark in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench"
MODULE = """
import os

def run():
    return {"process": os.getpid(), "nested": {"one": 1}}
"""


def test_each_benchmark_has_a_process_of_its_own(tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(MODULE)
    code = (
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(BENCH)!r})\n"
        "from run import run_all\n"
        "run_all(['first', 'second'], {'cpu': 'x'}, 'title', pathlib.Path('bench.json'))\n"
    )
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["machine"] == {"cpu": "x"}
    assert results["first"]["process"] != results["second"]["process"]
    assert results["second"]["nested"] == {"one": 1}
    assert "second" in done.stdout
