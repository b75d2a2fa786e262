"""What GPU benchmarks share: waiting for the device, memory, errors, operations and their peak."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from harness import Arm

from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

CUDA = torch.device("cuda", 0)  # numbered: some functions of torch.cuda take no other
BF16 = torch.bfloat16
# Dense bf16 operations per second by the makers' data sheets, of exactly these cards: others of
# the same name (PCIe, NVL) are slower.
PEAK_FLOPS = {
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
}


def waiting(call: Arm, device: torch.device) -> Arm:
    """The call without autograd, ended when the device is done with it."""

    @torch.inference_mode()
    def arm() -> object:
        result = call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return arm


def added_mb(name: str, arms: Mapping[str, Arm], device: torch.device) -> dict[str, float]:
    """What each arm adds to what lay on the device before it."""
    return {
        f"{name}.{arm}_added_mb": round((peak_bytes(call, device) - held_bytes(device)) / 1e6)
        for arm, call in arms.items()
    }


def peak_bytes(call: Arm, device: torch.device) -> int:
    """All that lies on the device at the call's peak; the CPU keeps no such count."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device)


def held_bytes(device: torch.device) -> int:
    """What lies on the device now."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


@contextmanager
def memory_of(size_bytes: float, device: torch.device) -> Iterator[None]:
    """Let the program have so much of the device's memory; then all of it again."""
    if device.type != "cuda":
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, size_bytes / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def forget(device: torch.device) -> None:
    """Give graphs and memory of one benchmark back: the next is compiled for its own sizes."""
    if device.type == "cuda":
        torch.compiler.reset()
        torch.cuda.empty_cache()


def distance(found: Any, truth: Any) -> float:
    """Of two tensors: the norm of the difference over that of the truth, to three digits."""
    found, truth = found.double(), truth.double()
    return float(f"{((found - truth).norm() / truth.norm()).item():.3g}")


def step_flops(shape: DiTShape, latents: tuple[int, ...]) -> float:
    """Operations of one call with a full prompt: products of the blocks and both attentions.

    Embeddings, head and everything between products are left out: under 0.3 % of a whole model.
    """
    tokens = latents[0] * latents[2] * (latents[3] // PATCH[1]) * (latents[4] // PATCH[2])
    text, d, f = shape.text_len, shape.dim, shape.ffn_dim
    linear = tokens * (12 * d**2 + 4 * d * f) + latents[0] * text * 4 * d**2
    attention = 4 * tokens**2 * d / latents[0] + 4 * tokens * text * d
    return shape.num_layers * (linear + attention)


def rates(name: str, figures: Mapping[str, float], flops: float, gpu: str) -> dict[str, float]:
    """Operations per second of each arm, and their share of the card's peak where that is known."""
    made = {}
    for figure, seconds in figures.items():
        if figure.startswith(f"{name}.") and figure.endswith("_s"):
            arm = figure.removesuffix("_s")
            made[f"{arm}_tflops"] = float(f"{flops / seconds / 1e12:.4g}")
            if gpu in PEAK_FLOPS:
                made[f"{arm}_mfu_percent"] = round(100 * flops / seconds / PEAK_FLOPS[gpu], 1)
    return made


def gpu_name(device: torch.device) -> str:
    """As the driver gives it; empty on the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""
