"""All benchmarks of one CUDA GPU, one table, one bench-gpu.json.

`make bench-gpu`, or `python tests/bench/gpu.py gpu_vae` for some of them. bf16, random weights and
data, alternating with diffusers with its defaults in one process, in some minutes.
"""

import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu_meter import CUDA
from run import run_all

from wanctl.errors import UserError, unknown
from wanctl.runtime.attention_kernels import backend_name

MODULES = ("gpu_step", "gpu_vae", "gpu_vae_training", "gpu_dit_training", "gpu_streaming")
RESULT = Path("bench-gpu.json")


def main(names: list[str]) -> None:
    """Measure, or print in one line why that is not possible here."""
    try:
        check(names)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    card = machine()
    run_all(names or MODULES, card, f"{card['gpu']}, torch {card['torch']}", RESULT)


def check(names: list[str]) -> None:
    """Check that everything needed is available before anything is measured.

    Raises:
        UserError: no such benchmark, no GPU, or no peer.
    """
    for name in names:
        if name not in MODULES:
            raise UserError(f"bench-gpu: {unknown('benchmark', name, MODULES)}")
    if not torch.cuda.is_available():
        raise UserError(
            f"bench-gpu: torch {torch.__version__} sees no CUDA device; run it on a machine with "
            "an NVIDIA GPU (`make bench` measures the CPU)"
        )
    if not find_spec("diffusers"):
        raise UserError(
            "bench-gpu: diffusers, which everything is compared with, is not installed; "
            "say `pip install 'diffusers>=0.42'`"
        )


def machine() -> dict[str, str | int]:
    """What the figures were measured on, and the kernel that attention took."""
    card = torch.cuda.get_device_properties(CUDA)
    return {
        "gpu": card.name,
        "memory_mb": card.total_memory // 10**6,
        "capability": f"{card.major}.{card.minor}",
        "attention": backend_name(CUDA, torch.bfloat16),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() or 0,
        "diffusers": version("diffusers"),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
