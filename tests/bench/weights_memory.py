"""Loading a 1.3B fp32 checkpoint: peak memory of the process over the size of the files.

Two peaks, because resident memory has two kinds. Anonymous memory (RssAnon) is what the allocator
took from the system: weights that were copied or converted, temporaries, holes in the heap, and
0.3 GB of imports. Pages of mapped files (RssFile) are shared with the page cache and can be taken
back at any time: fp32 weights stay such pages, and converted ones were read through them. Total is
both (VmHWM). A forward pass at the end touches every weight, so that nothing stays on disk unread.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from harness import peak_rss

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.runtime.quantize import KINDS

SHARD_BYTES = 2 * 10**9
POLL_S = 0.002


def write_checkpoint(folder: str) -> None:
    """Random 1.3B weights in official layout."""
    with torch.device("meta"):
        model = WanModel(VARIANTS["wan2.1-t2v-1.3b"].dit)
    model = model.to_empty(device="cpu").init_weights(torch.Generator().manual_seed(0))
    save_dit(model, Path(folder), max_shard_bytes=SHARD_BYTES)


def load_and_touch(folder: str, kept: str) -> None:
    """Load as a torch dtype or a kind of quantize.py, and run once on one token."""
    if kept in KINDS:
        model = load_dit(folder, quantize_to=kept)
    else:
        model = load_dit(folder, dtype=getattr(torch, kept))
    shape = model.shape
    latents, context = torch.zeros(1, shape.in_channels, 1, 2, 2), torch.zeros(1, 1, shape.text_dim)
    with torch.no_grad():
        model(latents, torch.zeros(1), context)


def peaks(folder: str, kept: str) -> tuple[int, int]:
    """Peak (total, anonymous) memory in bytes of a new process that runs `load_and_touch`."""
    process = subprocess.Popen([sys.executable, __file__, folder, kept])
    status = Path(f"/proc/{process.pid}/status")
    total = anonymous = 0
    # From outside: the kernel keeps a high-water mark for the total alone, and a thread inside
    # would wait for the loader.
    while process.poll() is None:
        sizes = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in sizes:  # not a process that has just ended
            total = max(total, int(sizes["VmHWM"].split()[0]) * 1024)
            anonymous = max(anonymous, int(sizes["RssAnon"].split()[0]) * 1024)
        time.sleep(POLL_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return total, anonymous


def run() -> dict[str, float]:
    """Peaks over file size for fp32 as stored, and for bf16 and int8 made while loading."""
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, which takes its 6 GB with it.
        peak_rss("weights_memory", "write_checkpoint", folder)
        file_bytes = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
        figures: dict[str, float] = {"file_bytes": file_bytes}
        for kept in ("float32", "bfloat16", "int8"):
            total, anonymous = peaks(folder, kept)
            figures[f"{kept}.peak_bytes"] = total
            figures[f"{kept}.ratio"] = round(total / file_bytes, 3)
            figures[f"{kept}.anonymous_ratio"] = round(anonymous / file_bytes, 3)
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 1:
        load_and_touch(*sys.argv[1:])
    else:
        print(json.dumps(run(), indent=2))
