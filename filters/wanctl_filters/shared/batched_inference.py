"""Runs a network on the frames of several clips so that results do not depend on the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# GPU kernels are chosen by batch size, so every batch is padded to this one.
GPU_BATCH = 32


def run_over_clips(
    network: Callable[[Any], Any], clips: Sequence[Any], device: Any
) -> list[np.ndarray]:
    """Outputs of a network for the frames of each clip, as float32.

    Args:
        network: (N, C, H, W) float tensor on `device` to an (N, D) tensor.
        clips: a (N, C, H, W) tensor for each clip, on the CPU.
        device: a torch device; on a CPU, clips run one by one, which is as fast.
    """
    import torch

    with torch.inference_mode():
        if device.type == "cpu":
            return [network(frames).float().numpy() for frames in clips]
        outputs = []
        for chunk in torch.cat(list(clips)).split(GPU_BATCH):
            filler = chunk.new_zeros(GPU_BATCH - len(chunk), *chunk.shape[1:])
            values = network(torch.cat([chunk, filler]).to(device))
            outputs.append(values[: len(chunk)].float().cpu().numpy())
    ends = np.cumsum([len(frames) for frames in clips])[:-1]
    return np.split(np.concatenate(outputs), ends)
