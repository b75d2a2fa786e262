"""Set a transformer up to use less device memory while it is trained."""

from collections.abc import Iterator, Mapping

import torch

from wanctl.errors import ProblemsError
from wanctl.model.dit.transformer import WanModel
from wanctl.runtime.streaming import Transfer, stream_blocks
from wanctl.train.memory.activations import offload_activations
from wanctl.train.memory.checkpointing import checkpoint_blocks, training_blocks
from wanctl.train.memory.host import HostCopies, copies_for
from wanctl.train.memory.options import MemoryOptions

SECTION = "train_dit.memory"


def save_memory(
    models: Mapping[str, WanModel],
    options: MemoryOptions,
    device: torch.device,
    *,
    processes: int = 1,
    copies: HostCopies | None = None,
    transfer: Transfer | None = None,
) -> None:
    """Checkpoint, offload and stream as `options` say, in place; changes no gradient.

    Args:
        models: on the host, with their adapters and with what is frozen frozen.
        options: without `offload_optimizer`, which is the loop's.
        device: where it is trained. On the CPU nothing is offloaded nor streamed.
        processes: of the run.
        copies: for tests; those of the device by default.
        transfer: for tests; that of the device by default.

    Raises:
        ProblemsError: settings that do not fit what is trained.
    """
    problems = list(_problems(models, options, processes))
    if problems:
        raise ProblemsError([(f"{SECTION}.{key}", message) for key, message in problems])
    on_host = device.type == "cpu"
    for model in models.values():
        checkpoint_blocks(model, options.checkpointing, options.checkpoint_every)
        if options.stream_blocks and (transfer is not None or not on_host):
            stream_blocks(model, device, transfer, trained=True)
        if options.offload_activations and (copies is not None or not on_host):
            offload_activations(model, copies or copies_for(device))


def _problems(
    models: Mapping[str, WanModel], options: MemoryOptions, processes: int
) -> Iterator[tuple[str, str]]:
    """(key, message) of settings that do not fit what is trained."""
    if options.offload_optimizer and len(models) > 1:
        yield (
            "offload_optimizer",
            "the state of the idle expert is in host memory anyway; train one expert "
            "(train_dit.experts) or set it to false",
        )
    if not options.stream_blocks:
        return
    blocks = [block for model in models.values() for block in training_blocks(model)]
    if not any(_is_frozen(block) for block in blocks):
        yield (
            "stream_blocks",
            "only frozen blocks are streamed, and all are trained here; train an adapter "
            "(train_dit.adapter) or set it to false",
        )
    if len(models) > 1:
        yield "stream_blocks", "is for one transformer; train one expert (train_dit.experts)"
    if processes > 1:
        yield "stream_blocks", f"is for one process, got {processes}; set it to false"


def _is_frozen(block: torch.nn.Module) -> bool:
    return any(not parameter.requires_grad for parameter in block.parameters())
