"""One process of a training run on several: what it exported and encoded, and the figures."""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from wanctl.data import export
from wanctl.recipe.load import load_recipe
from wanctl.train.inputs import encode
from wanctl.train.run import train_dit, train_vae


def main(recipe: str, dataset: str, out: Path) -> None:
    """Train both models; write the work of this process into `out/rank-N.json`."""
    torch.set_num_threads(1)
    exported, encoded = [], []
    real_add, real_encode = export.ExportIndex.add, encode.encode_window

    def add(self, clip, key, file):
        exported.append(f"{file.parent.name}/{clip}")
        real_add(self, clip, key, file)

    def encode_window(vae, footage, window, device):
        encoded.append((window.key, str(device)))
        return real_encode(vae, footage, window, device)

    export.ExportIndex.add = add
    encode.encode_window = encode_window
    loaded = load_recipe(recipe, [f"dataset.path={dataset}"])
    train_vae(loaded, out)
    train_dit(loaded, out)
    rank = os.environ["RANK"]
    work = {"exported": exported, "encoded": encoded}
    (out / f"rank-{rank}.json").write_text(json.dumps(work), encoding="utf-8")
    with safe_open(out / "dit/diffusion_pytorch_model.safetensors", framework="pt") as file:
        assert (file.metadata() or {})["step"] == "2"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
