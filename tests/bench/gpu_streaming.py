"""Layers of the 14B model streamed through the GPU, against the same layers resident on it.

Eight of 40 layers at 480x832x81, bf16, compiled: streaming keeps two blocks on the GPU however many
there are, so its memory and its loss of time are those of the whole model. Bars: at most 5 %
slower, within 24 GB.
"""

import json
from dataclasses import replace

import torch
from gpu_meter import BF16, CUDA, distance, forget, held_bytes, memory_of, peak_bytes, waiting
from gpu_step import LATENTS_480P, draw_inputs
from harness import Arm, compare
from models import drawn_transformer

from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape
from wanctl.runtime.streaming import Transfer, stream_blocks

SHAPE = replace(VARIANTS["wan2.1-t2v-14b"].dit, num_layers=8)
SMALL_CARD_BYTES = 24e9


def run(
    shape: DiTShape = SHAPE,
    latents: tuple[int, ...] = LATENTS_480P,
    device: torch.device = CUDA,
    *,
    transfer: Transfer | None = None,
    repeats: int = 10,
    compiled: bool = True,
) -> dict[str, float | bool]:
    """Time that streaming costs and memory that it saves.

    Args:
        shape: of the stack.
        latents: size of what it works on.
        device: where it computes.
        transfer: as for `stream_blocks`.
        repeats: rounds of timing.
        compiled: compile the blocks.
    """
    inputs = draw_inputs(shape, latents, device)

    def arm(model: WanModel) -> Arm:
        if compiled:
            model.compile_blocks()
        return waiting(lambda: model(*inputs), device)

    figures: dict[str, float | bool] = {}
    # Drawn on the device, where that takes no time, and passed through it before it is measured.
    model = drawn_transformer(shape, device).cast(BF16).to("cpu")
    streamed = arm(stream_blocks(model, device, transfer))
    del model
    figures["fits_24_gb"] = _runs_within(SMALL_CARD_BYTES, streamed, device)
    figures["step.streamed_mb"] = round(peak_bytes(streamed, device) / 1e6)
    apart = held_bytes(device)
    resident = arm(drawn_transformer(shape, device).cast(BF16))
    figures["step.resident_mb"] = round((peak_bytes(resident, device) - apart) / 1e6)
    figures["difference"] = distance(streamed(), resident())
    figures |= compare("step", {"streamed": streamed, "resident": resident}, repeats)
    figures["percent_slower"] = round(100 * (1 / float(figures["step.times_as_fast"]) - 1), 1)
    del streamed, resident
    forget(device)
    return figures


def _runs_within(size_bytes: float, step: Arm, device: torch.device) -> bool:
    with memory_of(size_bytes, device):
        try:
            step()
        except torch.OutOfMemoryError:
            return False
    return True


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
