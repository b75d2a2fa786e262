"""Runs DiffSynth-Studio's Wan pipeline on given weights and inputs; the other side of a comparison.

Runs in `.venv-parity`, never in `.venv`:

    python pipelines.py FOLDER

FOLDER holds `job.json` (`models`: name -> arguments of the class, `call`: arguments of the
pipeline), `weights-NAME.safetensors` and `inputs.safetensors`. The sampled latents are written to
`latents.safetensors`. Text and CLIP are given as their encoders' results: those networks have
comparisons of their own.
"""

import json
import sys
from pathlib import Path

import torch
from diffsynth.diffusion.base_pipeline import PipelineUnit
from diffsynth.models.wan_video_dit import WanModel
from diffsynth.models.wan_video_vae import VideoVAE_, WanVideoVAE
from diffsynth.pipelines.wan_video import WanVideoPipeline, WanVideoUnit_PromptEmbedder
from PIL import Image
from safetensors.torch import load_file, save_file


class GivenTexts(PipelineUnit):
    """Stands for the text encoder; a prompt is the name of an input."""

    def __init__(self, inputs: dict[str, torch.Tensor]) -> None:
        super().__init__(
            seperate_cfg=True,
            input_params_posi={"prompt": "prompt"},
            input_params_nega={"prompt": "negative_prompt"},
            output_params=("context",),
        )
        self.inputs = inputs

    def process(self, pipe: WanVideoPipeline, prompt: str) -> dict[str, torch.Tensor]:
        del pipe
        return {"context": self.inputs[prompt]}


class GivenHiddenStates:
    """Stands for CLIP's vision tower."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.hidden = hidden

    def encode_image(self, images: list[torch.Tensor]) -> torch.Tensor:
        return self.hidden.expand(len(images), -1, -1)


class LatentsOnly:
    """The VAE of the pipeline: encodes with the network, hands latents through at the end."""

    def __init__(self, vae: WanVideoVAE) -> None:
        self.vae = vae

    def __getattr__(self, name: str) -> object:
        return getattr(self.vae, name)

    def decode(self, latents: torch.Tensor, **_: object) -> torch.Tensor:
        return latents


def make_vae(folder: Path, sizes: dict[str, int]) -> LatentsOnly:
    vae = WanVideoVAE()
    vae.model = VideoVAE_(**sizes).eval().requires_grad_(False)
    vae.model.load_state_dict(load_file(folder / "weights-vae.safetensors"))
    return LatentsOnly(vae)


def make_dit(folder: Path, name: str, sizes: dict[str, object]) -> WanModel:
    dit = WanModel(**sizes).eval().requires_grad_(False)
    dit.load_state_dict(load_file(folder / f"weights-{name}.safetensors"))
    return dit


def run(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    pipe = WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.units = [
        GivenTexts(inputs) if isinstance(unit, WanVideoUnit_PromptEmbedder) else unit
        for unit in pipe.units
    ]
    pipe.generate_noise = lambda *_, **__: inputs["noise"].clone()
    pipe.vae = make_vae(folder, job["models"].pop("vae"))
    for name, sizes in job["models"].items():
        setattr(pipe, name, make_dit(folder, name, sizes))
    if "clip" in inputs:
        pipe.image_encoder = GivenHiddenStates(inputs["clip"])
    pictures = {}
    for key in ("input_image", "reference_image"):
        if key in inputs:
            pictures[key] = Image.fromarray(inputs[key].numpy())
    if "control_video" in inputs:
        frames = inputs["control_video"].numpy()
        pictures["control_video"] = [Image.fromarray(each) for each in frames]
    latents = pipe(
        prompt="prompt", negative_prompt="negative", tiled=False, output_type="floatpoint",
        progress_bar_cmd=iter, **pictures, **job["call"],
    )  # fmt: skip
    save_file({"latents": latents.contiguous()}, folder / "latents.safetensors")


if __name__ == "__main__":
    with torch.no_grad():
        run(Path(sys.argv[1]))
