"""One transformer step at 1.3B widths (4 layers, 2,080 tokens) beside diffusers: time, memory."""

import json
from collections.abc import Callable
from typing import Any

import torch
from harness import compare, peak_rss

from wanctl.model.dit import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=1536, ffn_dim=8960, num_layers=4, num_heads=12)
LATENTS = (1, 16, 5, 32, 52)  # 5 * 16 * 26 = 2,080 tokens


def ours() -> Callable[[], Any]:
    """A step of our transformer with random weights."""
    with torch.device("meta"):
        model = WanModel(SHAPE)
    model = randomise(model.to_empty(device="cpu"))
    inputs = torch.randn(LATENTS), torch.tensor([500]), torch.randn(1, 512, SHAPE.text_dim)
    return torch.no_grad()(lambda: model(*inputs))


def diffusers() -> Callable[[], Any]:
    """The same step of diffusers' transformer."""
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        num_attention_heads=SHAPE.num_heads, ffn_dim=SHAPE.ffn_dim, num_layers=SHAPE.num_layers
    )
    model = randomise(model.eval())
    inputs = torch.randn(LATENTS), torch.tensor([500]), torch.randn(1, 512, SHAPE.text_dim)
    return torch.no_grad()(lambda: model(*inputs, return_dict=False))


ARMS = {"ours": ours, "diffusers": diffusers}


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.02, generator=generator)
    return model


def build(arm: str) -> None:
    ARMS[arm]()


def build_and_step(arm: str) -> None:
    ARMS[arm]()()


def run(repeats: int = 5) -> dict[str, float]:
    """Speed as a multiple of diffusers', and what a step adds to the memory of the bare model."""
    figures = compare("step", {arm: make() for arm, make in ARMS.items()}, repeats)
    added = {
        arm: peak_rss("dit", "build_and_step", arm) - peak_rss("dit", "build", arm) for arm in ARMS
    }
    figures |= {f"step.{arm}_bytes": size for arm, size in added.items()}
    figures["step.memory_ratio"] = round(added["ours"] / added["diffusers"], 3)
    return figures


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
