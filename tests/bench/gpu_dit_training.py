"""A training step of the 1.3B transformer at 480x832x81 under bf16 autocast: seconds and memory.

Weights and AdamW's moments are in fp32, as `train_dit.mixed_precision: bf16` has them. Each setting
of `train_dit.memory` is measured alone, because several models do not fit together; diffusers'
modules take the same step with gradient checkpointing, without which 80 GB do not suffice. Bars
(H100): at most 0.67x diffusers' time and 0.8x its memory at the setting `full`; MFU at least 45 %.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from dit_training import RANK, TrainedDiT, diffusers, draw_inputs, ours
from gpu_meter import BF16, CUDA, forget, gpu_name, peak_bytes, rates, step_flops
from gpu_step import LATENTS_480P
from harness import Arm

from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape
from wanctl.train.memory.activations import offload_activations
from wanctl.train.memory.host import copies_for
from wanctl.train.memory.optimizer import offload_optimizer

SHAPE = VARIANTS["wan2.1-t2v-1.3b"].dit


def run(
    shape: DiTShape = SHAPE,
    latents: tuple[int, ...] = LATENTS_480P,
    device: torch.device = CUDA,
    *,
    repeats: int = 5,
) -> dict[str, float]:
    """Seconds of a step, all memory that it takes, and rates of every arm."""
    arms: Mapping[str, Callable[[], TrainedDiT]] = {
        "selective": partial(ours, shape, "selective", device=device),
        "full": partial(ours, shape, "full", device=device),
        "offloaded": partial(offloaded, shape, device),
        "lora": partial(ours, shape, "full", RANK, device),
        "diffusers": partial(diffusers, shape, device, checkpointing=True),
    }
    inputs = draw_inputs(shape, latents)
    figures: dict[str, float] = {}
    for name, make in arms.items():
        trained = make()
        autocast = torch.autocast(device.type, dtype=BF16)
        arm = partial(trained._replace(loss=autocast(trained.loss)).step, inputs)
        seconds = median_seconds(arm, repeats)
        # forward and backward pass: three times the operations of a call, of an adapter twice
        flops = (2 if name == "lora" else 3) * step_flops(shape, latents)
        figures |= {f"step.{name}_s": round(seconds, 4)}
        figures[f"step.{name}_mb"] = round(peak_bytes(arm, device) / 1e6)
        figures |= rates("step", {f"step.{name}_s": seconds}, flops, gpu_name(device))
        del trained, arm
        forget(device)
    for name in arms:
        figures[f"step.{name}_time"] = round(
            figures[f"step.{name}_s"] / figures["step.diffusers_s"], 3
        )
    return figures


def offloaded(shape: DiTShape, device: torch.device) -> TrainedDiT:
    """Blocks checkpointed, their inputs and the optimizer's state in host memory."""
    trained, copies = ours(shape, "full", device=device), copies_for(device)
    assert isinstance(trained.module, WanModel)
    offload_activations(trained.module, copies)
    offload_optimizer(trained.optimizer, copies)
    return trained


def median_seconds(arm: Arm, repeats: int) -> float:
    """Of a step after two that warm up; it ends when the loss is on the host."""
    seconds = []
    for repeat in range(repeats + 2):
        start = time.perf_counter()
        arm()
        if repeat >= 2:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
