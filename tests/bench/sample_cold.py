"""How long `wanctl sample --recipe tiny "..."` takes from a cold start, in a process of its own."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from wanctl.model.dit import WanModel
from wanctl.model.vae import WanVAE
from wanctl.model.variants import VARIANTS
from wanctl.model.weights import save_dit, save_vae

LIMIT_S = 10.0
RUNS = 5


def run() -> dict:
    """Median of five cold runs with random weights of the demo's sizes, and what they imported."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        tiny = VARIANTS["tiny"]
        torch.manual_seed(0)
        save_dit(WanModel(tiny.dit), out / "dit")
        save_vae(WanVAE(tiny.vae), out / "vae")
        times = sorted(_cold(out, seed) for seed in range(RUNS))
        imported = _imported(out)
    return {
        "median_s": round(times[RUNS // 2], 2),
        "fastest_s": round(times[0], 2),
        "limit_s": LIMIT_S,
        "imports_diffusers": "diffusers" in imported,
        "imports_transformers": "transformers" in imported,
    }


def _cold(out: Path, seed: int) -> float:
    command = [sys.executable, "-m", "wanctl", "sample", "a red bike", "--recipe", "tiny"]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(out), "--set", f"sample.seed={seed}"],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def _imported(out: Path) -> set[str]:
    code = (
        "import json, sys\n"
        "from wanctl.cli import main\n"
        "try:\n"
        f"    main(['sample', 'a red bike', '--recipe', 'tiny', '--out', {str(out)!r}])\n"
        "finally:\n"
        "    print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
