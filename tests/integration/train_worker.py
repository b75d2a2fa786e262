"""One process of a training run on several: what it exported and encoded, and the figures."""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from wanctl.data import export
from wanctl.recipe.load import load_recipe
from wanctl.train.dit.run import train_dit
from wanctl.train.inputs import encode
from wanctl.train.vae.run import train_vae


def main(command: str, recipe: str, dataset: str, out: Path) -> None:
    """Run a command; write the work of this process into `out/COMMAND-RANK.json`."""
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
    # one command a process, as users run them: a process group cannot be joined twice reliably
    {"train-vae": train_vae, "train-dit": train_dit}[command](loaded, out)
    work = {"exported": exported, "encoded": encoded}
    (out / f"{command}-{os.environ['RANK']}.json").write_text(json.dumps(work), encoding="utf-8")
    folder = out / command.removeprefix("train-")
    with safe_open(folder / "diffusion_pytorch_model.safetensors", framework="pt") as file:
        assert (file.metadata() or {})["step"] == "2"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
