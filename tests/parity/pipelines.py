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
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffsynth.core.attention import attention
from diffsynth.diffusion.base_pipeline import PipelineUnit
from diffsynth.models import wan_animate_2_dit
from diffsynth.models.wan_animate_2_dit import WanAnimate2Transformer
from diffsynth.models.wan_video_animate_adapter import (
    FaceAdapter,
    FaceEncoder,
    Generator,
    WanAnimateAdapter,
)
from diffsynth.models.wan_video_dit import WanModel
from diffsynth.models.wan_video_vae import VideoVAE_, WanVideoVAE
from diffsynth.pipelines.wan_video import WanVideoPipeline, WanVideoUnit_PromptEmbedder
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.attention.flex_attention import create_mask


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


def make_animate_adapter(*, dim: int, heads: int, layers: int, side: int) -> WanAnimateAdapter:
    """Animate's networks for a face with sizes that its class does not take."""
    adapter = WanAnimateAdapter.__new__(WanAnimateAdapter)
    torch.nn.Module.__init__(adapter)
    adapter.pose_patch_embedding = torch.nn.Conv3d(16, dim, (1, 2, 2), stride=(1, 2, 2))
    adapter.motion_encoder = Generator(size=side, style_dim=512, motion_dim=20)
    adapter.face_adapter = FaceAdapter(
        heads_num=heads, hidden_dim=dim, num_adapter_layers=-(-layers // 5)
    )
    adapter.face_encoder = FaceEncoder(in_dim=512, hidden_dim=dim, num_heads=4)
    return adapter


CLASSES = {
    "WanModel": WanModel,
    "WanAnimate2Transformer": WanAnimate2Transformer,
    "WanAnimateAdapter": make_animate_adapter,
}


def make_network(folder: Path, name: str, sizes: dict[str, object]) -> torch.nn.Module:
    network = CLASSES[sizes.pop("class")](**sizes).eval().requires_grad_(False)
    network.load_state_dict(load_file(folder / f"weights-{name}.safetensors"))
    return network


def attend_densely(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, block_mask: torch.Tensor,
    score_mod: Callable[..., torch.Tensor], scale: float | None,
) -> torch.Tensor:  # fmt: skip
    """What flex attention computes, which is compiled there."""
    rows, columns = torch.arange(query.shape[2])[:, None], torch.arange(key.shape[2])[None]
    bias = score_mod(torch.zeros(len(rows), columns.shape[1]), None, None, rows, columns)
    bias = bias.masked_fill(~block_mask, float("-inf"))
    return F.scaled_dot_product_attention(query, key, value, bias, scale=scale)


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
        setattr(pipe, name, make_network(folder, name, sizes))
    if "clip" in inputs:
        pipe.image_encoder = GivenHiddenStates(inputs["clip"])
    WanVideoUnit_PromptEmbedder.encode_prompt = lambda _, __, prompt: inputs[prompt]
    wan_animate_2_dit.create_block_mask = lambda mask, B, H, Q_LEN, KV_LEN, device, **_: (
        create_mask(mask, B, H, Q_LEN, KV_LEN, device)
    )
    attention.flex_attention_func = attend_densely
    pictures = {}
    for key, given in inputs.items():
        if given.dtype == torch.uint8:
            frames = given.numpy() if given.ndim == 4 else [given.numpy()]
            shown = [Image.fromarray(each) for each in frames]
            pictures[key] = shown if given.ndim == 4 else shown[0]
    latents = pipe(
        prompt="prompt", negative_prompt="negative", tiled=False, output_type="floatpoint",
        progress_bar_cmd=iter, **pictures, **job["call"],
    )  # fmt: skip
    save_file({"latents": latents.contiguous()}, folder / "latents.safetensors")


if __name__ == "__main__":
    with torch.no_grad():
        run(Path(sys.argv[1]))
