"""Loading a 1.3B fp32 checkpoint: peak memory of the process over the size of the files.

Everything resident counts, mapped file pages and the imports too. A forward pass at the end
touches every weight, so that nothing stays on disk unread.
"""

import json
import tempfile
from pathlib import Path

import torch
from harness import peak_rss

from wanctl.checkpoint.load import load_dit, save_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import VARIANTS
from wanctl.runtime.quantize import KINDS

SHARD_BYTES = 2 * 10**9


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


def run() -> dict[str, float]:
    """Peak over file size for fp32 as stored, and for bf16 and int8 made while loading."""
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, which takes its 6 GB with it.
        peak_rss("weights_memory", "write_checkpoint", folder)
        file_bytes = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
        figures: dict[str, float] = {"file_bytes": file_bytes}
        for kept in ("float32", "bfloat16", "int8"):
            peak = peak_rss("weights_memory", "load_and_touch", folder, kept)
            figures[f"{kept}.peak_bytes"] = peak
            figures[f"{kept}.ratio"] = round(peak / file_bytes, 3)
    return figures


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
