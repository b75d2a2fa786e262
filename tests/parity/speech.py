"""Runs DiffSynth-Studio's S2V on given weights and inputs; the other side of `test_speech.py`.

Runs in `.venv-parity`, never in `.venv`:

    python speech.py FOLDER

FOLDER is as `pipelines.py` takes it. `inputs.safetensors` holds the arguments of one call of the
transformer (`x`, `timestep`, `context`, `states`, `before`, `pose`), whose results are written as
`first` (without the frames before) and `later`; with `picture` it holds the inputs of the pipeline
instead, whose latents are written as `clip0`, `clip1`, and their video as `video0`, `video1`.
"""

import json
import sys
from pathlib import Path

import torch
from diffsynth.models.wan_video_dit_s2v import WanS2VModel
from diffsynth.pipelines.wan_video import model_fn_wans2v
from safetensors.torch import load_file, save_file


def make_dit(folder: Path, sizes: dict[str, object]) -> WanS2VModel:
    dit = WanS2VModel(**sizes).eval().requires_grad_(False)
    dit.load_state_dict(load_file(folder / "weights-dit.safetensors"))
    return dit


def call(dit: WanS2VModel, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def velocity(*, first: bool) -> torch.Tensor:
        return model_fn_wans2v(
            dit, given["x"], given["timestep"], given["context"], given["states"],
            given["before"], given["pose"], drop_motion_frames=first,
        )[:, :, 1:]  # fmt: skip

    return {"first": velocity(first=True), "later": velocity(first=False)}


def run(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    given = load_file(folder / "inputs.safetensors")
    dit = make_dit(folder, job["models"]["dit"])
    found = call(dit, given)
    save_file({k: v.contiguous() for k, v in found.items()}, folder / "results.safetensors")


if __name__ == "__main__":
    with torch.no_grad():
        run(Path(sys.argv[1]))
