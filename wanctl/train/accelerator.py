"""accelerate, set up for one run: device, precision, processes, trackers."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration

from wanctl.errors import UserError, unknown

TRACKER_MODULES = {"tensorboard": "tensorboard", "wandb": "wandb"}


class PlatformError(UserError):
    """This machine cannot train the way the recipe says."""


def make_accelerator(
    device: torch.device,
    mixed_precision: str,
    trackers: Sequence[str],
    tracker_dir: Path,
    *,
    skips_parameters: bool = False,
) -> Accelerator:
    """An accelerator for this run. Accumulation stays with the loop, which keys noise by it.

    Args:
        device: where to train when there is one process.
        mixed_precision: `no`, `bf16` or `fp16`.
        trackers: rows of TRACKER_MODULES.
        tracker_dir: where TensorBoard writes.
        skips_parameters: some batches leave parameters without a gradient; processes must know.

    Raises:
        PlatformError: a tracker is not known or not installed, or fp16 without a GPU.
    """
    _check_trackers(trackers)
    if mixed_precision == "fp16" and device.type == "cpu":
        raise PlatformError("mixed_precision: fp16 needs a GPU; say bf16 or no on the CPU")
    # Accelerator's state is a process-wide singleton: without this, training a transformer in
    # bf16 after a VAE in fp32 in one process is refused.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    ddp = DistributedDataParallelKwargs(find_unused_parameters=skips_parameters)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=mixed_precision,
        log_with=list(trackers) or None,
        kwargs_handlers=[ddp],
        project_config=ProjectConfiguration(logging_dir=str(tracker_dir)),
    )


def start_trackers(accelerator: Accelerator, name: str, first_step: int) -> None:
    """Open the trackers; TensorBoard forgets what a killed run logged beyond the checkpoint."""
    init = {"tensorboard": {"purge_step": first_step + 1}}
    accelerator.init_trackers(name, init_kwargs=init)


def _check_trackers(trackers: Sequence[str]) -> None:
    for name in trackers:
        if name not in TRACKER_MODULES:
            raise PlatformError(f"trackers: {unknown('tracker', name, TRACKER_MODULES)}")
        if importlib.util.find_spec(TRACKER_MODULES[name]) is None:
            raise PlatformError(
                f"trackers: {name} is not installed; `pip install {name}`, or leave it out"
            )
