"""A training step of the VAE at 17x256x256 under bf16 autocast: seconds and memory.

Weights and AdamW's moments are in fp32, as `train_vae.mixed_precision: bf16` has them.
`checkpointed` recomputes activations in the backward pass; diffusers' modules take the same step
from the same weights. Bars (H100): memory not above diffusers', and as fast.
"""

import json
from functools import partial

import torch
from gpu_meter import BF16, CUDA, forget, held_bytes, peak_bytes
from harness import Arm, compare
from torch import Tensor
from vae_training import TrainedVAE, inputs, ours, pair

from wanctl.model.variants import VAEShape

CLIP = (1, 3, 17, 256, 256)


def run(
    shape: VAEShape = VAEShape(),  # noqa: B008
    clip: tuple[int, ...] = CLIP,
    device: torch.device = CUDA,
    *,
    repeats: int = 5,
) -> dict[str, float]:
    """Seconds of a step, what it adds to weights and moments, and how fast beside diffusers."""
    torch.manual_seed(0)
    data = tuple(part.to(device) for part in inputs(clip))
    with torch.device(device):
        both = pair(shape)
        checkpointed = ours(shape, checkpointing=True)
    checkpointed.module.load_state_dict(both["ours"].module.state_dict())
    arms = {
        name: step_of(trained, data)
        for name, trained in {
            "ours": both["ours"],
            "checkpointed": checkpointed,
            "diffusers": both["diffusers"],
        }.items()
    }
    figures = compare("step", arms, repeats)
    for name, arm in arms.items():
        added = peak_bytes(arm, device) - held_bytes(device)
        figures[f"step.{name}_added_mb"] = round(added / 1e6)
    forget(device)
    return figures


def step_of(trained: TrainedVAE, data: tuple[Tensor, ...]) -> Arm:
    """A step with its forward pass under autocast; it ends when the loss is on the host."""
    autocast = torch.autocast(data[0].device.type, dtype=BF16)
    return partial(trained._replace(forward=autocast(trained.forward)).step, *data)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
