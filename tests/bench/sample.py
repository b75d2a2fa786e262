"""A whole sample against diffusers' pipeline: four guided steps and the decode, time and memory.

1.3B widths (4 layers), the published VAE, 17x128x128, prompts of 40 and 120 tokens as embeddings.
Bars: at most 0.8x of diffusers' time and not above its peak memory.
"""

import json
from collections.abc import Callable

import torch
from harness import compare, peak_rss
from models import our_transformer, texts, their_transformer

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.tasks.pixels import to_frames

FRAMES, HEIGHT, WIDTH = 17, 128, 128
LATENTS = (1, 16, 5, 16, 16)
STEPS, SHIFT, GUIDE_SCALE = 4, 3.0, 5.0


def ours() -> Callable[[], object]:
    model, vae = our_transformer(), WanVAE(VAEShape()).eval()
    prompt, negative = texts()

    @torch.inference_mode()
    def sample() -> object:
        latents = generate(
            model,
            noise=torch.randn(LATENTS),
            conditions=Conditions(prompt),
            negative_context=negative,
            guide_scale=GUIDE_SCALE,
            schedule=make_schedule("unipc", STEPS, SHIFT),
            solver="unipc",
        )
        return [to_frames(piece[0]) for piece in vae.decode_frames(latents)]

    return sample


def diffusers() -> Callable[[], object]:
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanPipeline,
    )

    pipeline = WanPipeline(
        tokenizer=None,
        text_encoder=None,
        transformer=their_transformer(),
        vae=AutoencoderKLWan().eval(),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    prompt, negative = texts()

    def sample() -> object:
        return pipeline(
            prompt_embeds=prompt,
            negative_prompt_embeds=negative,
            height=HEIGHT,
            width=WIDTH,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            guidance_scale=GUIDE_SCALE,
        ).frames

    return sample


ARMS = {"ours": ours, "diffusers": diffusers}


def import_only(arm: str) -> None:
    """What a process holds before it has a model."""
    if arm == "diffusers":
        from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel  # noqa: F401


def build_and_sample(arm: str) -> None:
    torch.manual_seed(0)
    ARMS[arm]()()


def run(repeats: int = 5) -> dict[str, float]:
    """Speed as a multiple of diffusers', and peak memory of each; `_net` is above the imports."""
    torch.manual_seed(0)
    figures = compare("sample", {arm: make() for arm, make in ARMS.items()}, repeats)
    figures["sample.time_ratio"] = round(1 / figures["sample.times_as_fast"], 3)
    for arm in ARMS:
        peak = peak_rss("sample", "build_and_sample", arm)
        figures[f"sample.{arm}_mb"] = round(peak / 1e6)
        figures[f"sample.{arm}_net_mb"] = round(
            (peak - peak_rss("sample", "import_only", arm)) / 1e6
        )
    return figures


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
