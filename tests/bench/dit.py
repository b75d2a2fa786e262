"""The transformer at 1.3B widths (4 layers, 2,080 tokens) against diffusers: time, memory.

A step is one call with a full prompt of 512 tokens. A guided step is what sampling does over and
over: two prompts, of 40 and 120 tokens, that were read in the step before.
"""

import json
from collections.abc import Callable
from typing import Any

import torch
from harness import compare, peak_rss
from models import SHAPE, our_transformer, texts, their_transformer

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.cross_attention_cache import CrossAttentionCache
from wanctl.diffusion.guidance import guided_velocity

LATENTS = (1, 16, 5, 32, 52)  # 5 * 16 * 26 = 2,080 tokens
GUIDE_SCALE = 5.0


def ours() -> Callable[[], Any]:
    model, inputs = our_transformer(), step_inputs()
    return torch.inference_mode()(lambda: model(*inputs))


def diffusers() -> Callable[[], Any]:
    model, inputs = their_transformer(), step_inputs()
    return torch.inference_mode()(lambda: model(*inputs, return_dict=False))


def step_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, timestep, text."""
    text = torch.randn(1, SHAPE.text_len, SHAPE.text_dim)
    return torch.randn(LATENTS), torch.tensor([500]), text


def our_guided_step() -> Callable[[], Any]:
    model, (prompt, negative), cache = our_transformer(), texts(), CrossAttentionCache()
    x, timestep, conditions = torch.randn(LATENTS), torch.tensor(500.0), Conditions(prompt)

    @torch.inference_mode()
    def step() -> torch.Tensor:
        return guided_velocity(model, x, timestep, conditions, negative, GUIDE_SCALE, cache)

    return step


def their_guided_step() -> Callable[[], Any]:
    """As diffusers' pipeline does it: one call for each prompt."""
    model, (prompt, negative) = their_transformer(), texts()
    x, timestep = torch.randn(LATENTS), torch.tensor([500])

    @torch.inference_mode()
    def step() -> torch.Tensor:
        v_prompt = model(x, timestep, prompt, return_dict=False)[0]
        v_negative = model(x, timestep, negative, return_dict=False)[0]
        return v_negative + GUIDE_SCALE * (v_prompt - v_negative)

    return step


STEP = {"ours": ours, "diffusers": diffusers}
GUIDED_STEP = {"ours": our_guided_step, "diffusers": their_guided_step}


def build(arm: str) -> None:
    STEP[arm]()


def build_and_step(arm: str) -> None:
    STEP[arm]()()


def run(repeats: int = 5) -> dict[str, float]:
    """Speed as a multiple of diffusers', and what a step adds to the memory of the bare model."""
    figures = compare("step", {arm: make() for arm, make in STEP.items()}, repeats)
    guided = {arm: make() for arm, make in GUIDED_STEP.items()}
    figures |= compare("guided_step", guided, repeats)
    added = {
        arm: peak_rss("dit", "build_and_step", arm) - peak_rss("dit", "build", arm) for arm in STEP
    }
    figures |= {f"step.{arm}_bytes": size for arm, size in added.items()}
    figures["step.memory_ratio"] = round(added["ours"] / added["diffusers"], 3)
    return figures


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
