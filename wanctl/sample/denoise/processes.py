"""What several processes that share the work need to know before it."""

from collections.abc import Sequence
from pathlib import Path

import torch

from wanctl.distributed.context import DistributedContext
from wanctl.distributed.layout import Layout, ParallelOptions, choose_layout
from wanctl.errors import UserError
from wanctl.model.variants import DiTShape
from wanctl.sample.request import SampleRequest

FSDP_MEMORY_SHARE = 0.6  # share of a GPU's memory; the rest is for activations and the VAE


def check_single_process_options(request: SampleRequest) -> None:
    """Refuse what works in one process alone.

    Raises:
        UserError: names the key and what several processes do instead.
    """
    if request.clips:
        raise UserError(f"parallel: task {request.task} runs in one process; start one")
    placement = request.placement
    if placement.stream_blocks or placement.quantize:
        raise UserError(
            "model.stream_blocks and model.quantize are for one process; several divide the "
            "weights (parallel.fsdp)"
        )
    if request.vae_tile:
        raise UserError(
            f"model.vae_tile: got {request.vae_tile} for several processes, which divide the "
            "frame's rows and save memory in that way; leave it out"
        )


def exceeds_memory_share(device: torch.device, files: Sequence[Path]) -> bool:
    """Whether a transformer of these files leaves too little of the device's memory."""
    if device.type != "cuda":
        return False
    size_bytes = sum(path.stat().st_size for path in files)
    return size_bytes > FSDP_MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory


def layout_of(
    options: ParallelOptions,
    distributed: DistributedContext,
    shape: DiTShape,
    requests: Sequence[SampleRequest],
    files: Sequence[Path],
) -> Layout:
    """How the processes divide the work.

    Args:
        options: of the recipe.
        distributed: the processes.
        shape: sizes of the transformer.
        requests: what is sampled.
        files: of the transformer.

    Raises:
        UserError: it cannot be divided in this way.
    """
    layout = choose_layout(
        options,
        distributed.num_processes,
        heads=shape.num_heads,
        passes=max(request.passes for request in requests),
        fsdp_by_default=exceeds_memory_share(distributed.device, files),
    )
    if shape.face_rank and (layout.tokens > 1 or layout.fsdp):
        raise UserError(
            "parallel: a model with a face (model.identity) runs in one process, or in two with "
            "parallel.cfg=2 and parallel.fsdp=false"
        )
    if shape.sparse_attention and layout.tokens > 1:
        raise UserError(
            "parallel: sparse attention needs all tokens of a video in one process; start one, or "
            "two with parallel.cfg=2 where there is guidance"
        )
    return layout
