"""One call of the transformer at published sizes against diffusers' default: time, error, MFU.

The whole 1.3B model, and a stack of 4 of the 14B model's 40 layers, which is nine tenths of what it
does. Both programs hold the same weights, which bf16 represents exactly; errors are relative
distances from this program's `reference` precision in fp32. Blocks are compiled, diffusers is as
it comes. Bars (H100, cuDNN attention): 1.3B at least 1.7x as fast, 14B 1.6x; error not larger; MFU
at least 60 %.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from gpu_meter import BF16, CUDA, added_mb, distance, forget, gpu_name, rates, step_flops, waiting
from harness import Arm, compare
from models import diffusers_twin, drawn_transformer
from torch import Tensor

from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape

LATENTS_480P = (1, 16, 21, 60, 104)  # 480x832x81
LATENTS_720P = (1, 16, 21, 90, 160)  # 720x1280x81
_14B_STACK = replace(VARIANTS["wan2.1-t2v-14b"].dit, num_layers=4)
CASES = {
    "1.3b.480p": (VARIANTS["wan2.1-t2v-1.3b"].dit, LATENTS_480P),
    "14b_4_layers.480p": (_14B_STACK, LATENTS_480P),
    "14b_4_layers.720p": (_14B_STACK, LATENTS_720P),
}


class Inputs(NamedTuple):
    """Of a call; fp32, of values that bf16 represents."""

    latents: Tensor
    timestep: Tensor
    context: Tensor


def run(
    cases: Mapping[str, tuple[DiTShape, tuple[int, ...]]] = CASES,
    device: torch.device = CUDA,
    *,
    repeats: int = 10,
    compiled: bool = True,
) -> dict[str, float]:
    """Speed as a multiple of diffusers', errors, memory and rates of every case."""
    figures: dict[str, float] = {}
    for name, (shape, latents) in cases.items():
        arms, errors = both(name, shape, latents, device, compiled=compiled)
        times = compare(name, arms, repeats)
        figures |= times | errors | added_mb(name, arms, device)
        figures |= rates(name, times, step_flops(shape, latents), gpu_name(device))
        del arms
        forget(device)
    return figures


def both(
    name: str, shape: DiTShape, latents: tuple[int, ...], device: torch.device, *, compiled: bool
) -> tuple[dict[str, Arm], dict[str, float]]:
    """A call of each program in bf16, and how far each is from fp32."""
    inputs = draw_inputs(shape, latents, device)
    model = drawn_transformer(shape, device, "reference")
    truth = waiting(lambda: model(*inputs), device)()
    arms = {
        "ours": waiting(ours(model, inputs, compiled=compiled), device),
        "diffusers": waiting(diffusers(model, inputs), device),
    }
    return arms, {f"{name}.{arm}_error": distance(call(), truth) for arm, call in arms.items()}


def ours(weights: WanModel, inputs: Inputs, *, compiled: bool) -> Arm:
    """As sampling runs it: latents in fp32, text in bf16."""
    with torch.device("meta"):
        model = WanModel(weights.shape)
    # cast() puts new tensors into the new model, so both may start from the same ones
    model.load_state_dict(weights.state_dict(), assign=True)
    model.eval().cast(BF16)
    if compiled:
        model.compile_blocks()
    return lambda: model(inputs.latents, inputs.timestep, inputs.context.to(BF16))


def diffusers(weights: WanModel, inputs: Inputs) -> Arm:
    """As its pipeline runs it: latents and text in bf16."""
    model = diffusers_twin(weights, BF16)
    latents, context = inputs.latents.to(BF16), inputs.context.to(BF16)
    return lambda: model(latents, inputs.timestep, context, return_dict=False)[0]


def draw_inputs(shape: DiTShape, latents: tuple[int, ...], device: torch.device) -> Inputs:
    """Random latents and a full prompt."""
    generator = torch.Generator(device).manual_seed(1)

    def drawn(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=device).to(BF16).float()

    context = drawn(latents[0], shape.text_len, shape.text_dim)
    return Inputs(drawn(*latents), torch.tensor([500], device=device), context)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
