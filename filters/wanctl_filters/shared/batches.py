"""Running a network over the frames of several clips so that company changes no clip's numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# On a GPU kernels are chosen by the size of the batch, so every batch has this one.
GPU_BATCH = 32


def run_over_clips(
    network: Callable[[Any], Any], clips: Sequence[Any], device: Any
) -> list[np.ndarray]:
    """What a network says to each clip's pictures, as float32.

    Args:
        network: (N, C, H, W) float tensor on `device` to an (N, D) tensor.
        clips: a (N, C, H, W) tensor for each clip, on the CPU.
        device: a torch device; on a CPU clips go one by one, which is as fast there.
    """
    import torch

    with torch.inference_mode():
        if device.type == "cpu":
            return [network(pictures).float().numpy() for pictures in clips]
        found = []
        for chunk in torch.cat(list(clips)).split(GPU_BATCH):
            filler = chunk.new_zeros(GPU_BATCH - len(chunk), *chunk.shape[1:])
            values = network(torch.cat([chunk, filler]).to(device))
            found.append(values[: len(chunk)].float().cpu().numpy())
    ends = np.cumsum([len(pictures) for pictures in clips])[:-1]
    return np.split(np.concatenate(found), ends)
