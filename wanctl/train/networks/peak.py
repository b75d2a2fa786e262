"""The largest batch before the first step, so that memory runs out then and not hours later."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from wanctl.errors import UserError, is_out_of_memory
from wanctl.log import log
from wanctl.train.networks.step import OptimizerStep
from wanctl.train.networks.trained import TrainedNetwork
from wanctl.train.objective import KnowsLargestBatch, Objective
from wanctl.train.optimizers.table import OPTIMIZERS
from wanctl.train.throughput import GIB, peak_memory_bytes


class OutOfMemoryError(UserError):
    """Device memory does not suffice for the settings of a run."""


def try_largest_batch(
    objective: Objective[Any],
    step: OptimizerStep,
    networks: Mapping[str, TrainedNetwork],
    accelerator: Accelerator,
    seed: int,
) -> None:
    """Do the forward and backward pass of the largest batch and log the peak; changes nothing.

    On a GPU memory is set aside for the optimizer's state, which the first step makes. The weights,
    the optimizer and the random numbers of the run are as before; gradients are dropped.

    Raises:
        OutOfMemoryError: memory does not suffice.
    """
    if not isinstance(objective, KnowsLargestBatch):
        return
    device = accelerator.device
    name, batch, microbatch = objective.largest_batch(seed)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    generators = [device.index or 0] if device.type == "cuda" else []
    with out_of_memory(objective, f" at bucket {name}"), torch.random.fork_rng(generators):
        reserved = [_state_to_come(network, device) for network in networks.values()]
        step.try_batch(batch, microbatch)
        del reserved
    log.info("%s: peak memory %s at bucket %s", objective.name, _memory(device), name)


@contextmanager
def out_of_memory(objective: Objective[Any], where: str = "") -> Iterator[None]:
    """Inside, memory that does not suffice is an error of one line that says what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        advice = (
            objective.memory_advice
            if isinstance(objective, KnowsLargestBatch)
            else "use smaller buckets or batch sizes"
        )
        wanted = re.search(r"[Tt]ried to allocate ([\d.]+ [GMK]iB)", str(error))
        more = f" (another {wanted[1]} were needed)" if wanted else ""
        raise OutOfMemoryError(f"{objective.name}: out of memory{where}{more}; {advice}") from None


def _state_to_come(network: TrainedNetwork, device: torch.device) -> torch.Tensor | None:
    """Memory of the size of the state that the optimizer's first step makes."""
    if device.type == "cpu" or network.optimizer.state or network.offloads_optimizer:
        return None
    weights = sum(p.numel() for p in network.module.parameters() if p.requires_grad)
    size = weights * OPTIMIZERS[network.options.name].state_bytes
    return torch.empty(size, dtype=torch.uint8, device=device)


def _memory(device: torch.device) -> str:
    peak = f"{peak_memory_bytes(device) / GIB:.1f}"
    if device.type != "cuda":
        return f"{peak} GiB"
    return f"{peak} of {torch.cuda.get_device_properties(device).total_memory / GIB:.1f} GiB"
