"""Time of `wanctl sample --recipe tiny "..."` from a cold start, in a process of its own.

Beside it, alternating, what a process takes that only imports torch: the share nobody can save.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS

LIMIT_S = 10.0
RUNS = 5


def run() -> dict:
    """Medians of five cold runs with random weights of the demo's sizes, and what they import."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        tiny = VARIANTS["tiny"]
        torch.manual_seed(0)
        save_dit(WanModel(tiny.dit), out / "dit")
        save_vae(WanVAE(tiny.vae), out / "vae")
        pairs = [
            (_sample(out, seed), _timed([sys.executable, "-c", "import torch"]))
            for seed in range(RUNS)
        ]
        imported = _imported(out)
    samples, imports = zip(*pairs, strict=True)
    wall, cpu = (round(statistics.median(column), 2) for column in zip(*samples, strict=True))
    torch_wall, torch_cpu = (
        round(statistics.median(column), 2) for column in zip(*imports, strict=True)
    )
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "limit_s": LIMIT_S,
        "import_torch_wall_s": torch_wall,
        "import_torch_cpu_s": torch_cpu,
        "imports_diffusers": "diffusers" in imported,
        "imports_transformers": "transformers" in imported,
    }


def _sample(out: Path, seed: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "wanctl", "sample", "a red bike", "--recipe", "tiny"]
    return _timed([*command, "--out", str(out), "--set", f"sample.seed={seed}"])


def _timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _imported(out: Path) -> set[str]:
    code = (
        "import json, sys\n"
        "from wanctl.cli.main import main\n"
        "try:\n"
        f"    main(['sample', 'a red bike', '--recipe', 'tiny', '--out', {str(out)!r}])\n"
        "finally:\n"
        "    print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
