"""accelerate, set up for one run: processes and their devices, precision, trackers.

`accelerate launch` and `torchrun` start one process per device. Each exports and encodes its share
of the clips on its own device before the loop starts.
"""

import importlib.util
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    ProjectConfiguration,
    get_int_from_env,
    parse_flag_from_env,
)
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wanctl.atomic import writing
from wanctl.device import pick_device
from wanctl.errors import UserError, unknown
from wanctl.log import log

T = TypeVar("T")

# accelerate's name of a tracker -> module of its library, and its name on the package index.
TRACKERS = {
    "aim": ("aim", "aim"),
    "clearml": ("clearml", "clearml"),
    "comet_ml": ("comet_ml", "comet-ml"),
    "dvclive": ("dvclive", "dvclive"),
    "mlflow": ("mlflow", "mlflow"),
    "swanlab": ("swanlab", "swanlab"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "trackio": ("trackio", "trackio"),
    "wandb": ("wandb", "wandb"),
}

# Processes wait for each other while clips are exported and encoded, which may take hours; the
# library's ten minutes would end the run.
TIMEOUT = timedelta(hours=12)
# The variables of torchrun and of MPI's launchers, as accelerate reads them.
WORLD_SIZES = ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"]


class PlatformError(UserError):
    """This machine cannot train with the recipe's settings."""


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Where several processes compute each sample together, a group of them counts as one.

    Attributes:
        device: of this process.
        index: number of this process, or of its group, from 0.
        count: processes of the run, or groups.
        local_count: processes on this machine; they share its processor cores.
        group: processes of each group.
        member: number of this process in its group, from 0.
    """

    device: torch.device
    index: int = 0
    count: int = 1
    local_count: int = 1
    group: int = 1
    member: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes what the run writes once."""
        return self.index == 0 and self.member == 0

    def in_groups(self, size: int) -> "Processes":
        """The groups of so many processes each, one after the other."""
        assert self.group == 1
        assert self.count % size == 0
        index, member = divmod(self.index, size)
        return replace(self, index=index, count=self.count // size, group=size, member=member)

    def share(self, items: Iterable[T]) -> list[T]:
        """Every `count`-th of the items; all processes together have each item once."""
        return list(items)[self.index :: self.count]

    def gather(self, items: Iterable[T]) -> list[T]:
        """The items of all processes, in the order of the processes; waits for each of them.

        The processes of a group have the same items, which count once.
        """
        own = list(items)
        if self.count * self.group == 1:
            return own
        gathered: list[list[T]] = [[] for _ in range(self.count * self.group)]
        torch.distributed.all_gather_object(gathered, own)
        return [item for several in gathered[:: self.group] for item in several]

    def deal(self, results: Iterable[T]) -> list[T]:
        """Results for the items of `share`, of all processes, in the order of the items."""
        gathered = self.gather([list(results)])
        longest = max(map(len, gathered))
        return [own[index] for index in range(longest) for own in gathered if index < len(own)]

    def wait(self) -> None:
        """Wait until every process has come here."""
        self.gather(())


def start_processes(device: str) -> Processes:
    """Join the other processes of this run, where a launcher started several.

    Args:
        device: the recipe's `device`. With several processes on GPUs each takes the GPU of its
            local number, whatever N in `cuda:N` says.

    Raises:
        UserError: this machine has no such device.
    """
    if get_int_from_env(WORLD_SIZES, 1) == 1:
        _warn_of_missing_processes()
        return Processes(pick_device(device))
    cpu = pick_device(device).type == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU")
    # The library's state outlives a run in one process; a process group is never joined twice.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    state = PartialState(cpu=cpu, timeout=TIMEOUT)
    assert state.device is not None
    if state.device.type == "cuda":
        torch.cuda.set_device(state.device)
    if state.process_index:  # progress is logged once; warnings come from each process
        log.setLevel(logging.WARNING)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes))
    return Processes(state.device, state.process_index, state.num_processes, local)


def _warn_of_missing_processes() -> None:
    """Say so where `accelerate launch --num_processes N` has started one process only.

    It does that on the CPU, and on GPUs without `--multi_gpu`; the only trace of N > 1 is the
    address at which the processes would meet.
    """
    launched = "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ
    if launched and get_int_from_env(WORLD_SIZES, 0) == 0:
        log.warning("accelerate launch has started one process only, so that each step has one "
                    "process's batch; for several use `torchrun --nproc-per-node N -m wanctl ...`, "
                    "or on GPUs --multi_gpu")  # fmt: skip


def make_accelerator(
    device: torch.device,
    mixed_precision: str,
    trackers: Sequence[str],
    tracker_dir: Path,
) -> Accelerator:
    """Make the accelerator of a run. The loop accumulates gradients itself and keys noise by it.

    Args:
        device: of the only process; with several, accelerate assigns them.
        mixed_precision: `no`, `bf16` or `fp16`.
        trackers: rows of TRACKERS.
        tracker_dir: receives their files, where they write some.

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
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=mixed_precision,
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(logging_dir=str(tracker_dir)),
    )


def prepare_network(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    skips_parameters: bool,
) -> tuple[nn.Module, Any]:
    """The module and its optimizer, wrapped by accelerate.

    Args:
        accelerator: of the run.
        module: on its device, or streamed. Mixed precision changes its `forward`, DDP wraps it.
        optimizer: of the module.
        skips_parameters: some batches leave parameters without a gradient, which DDP must know.
    """
    # Every process has loaded the same frozen weights. DDP would send them to all at the start, and
    # buffers, which quantised weights are, before each forward pass; gloo sends no fp8 at all.
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    frozen += [name for name, _ in module.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, frozen)
    ddp = DistributedDataParallelKwargs(find_unused_parameters=skips_parameters)
    accelerator.ddp_handler = ddp  # pyright: ignore[reportAttributeAccessIssue]
    placement = [not is_streamed(module), True]
    return accelerator.prepare(module, optimizer, device_placement=placement)


def is_streamed(module: nn.Module) -> bool:
    """Whether parts of a network stay in host memory, so that it is not moved to the device."""
    return getattr(module, "streamed", False)


def exchange_gradients(model: nn.Module, loss: Tensor) -> None:
    """Let the processes average their gradients during the next backward pass, that of `loss`.

    DDP decides that in a forward pass, but a turn may have several of them and of backward passes.
    Here all forward passes run under `no_sync`; accelerate's `trigger_sync_in_backward` prepares
    the backward pass as this does, but for networks that always use all of their parameters.
    """
    if isinstance(model, DistributedDataParallel):
        model.reducer.prepare_for_backward([loss] if model.find_unused_parameters else [])


def start_trackers(accelerator: Accelerator, name: str, first_step: int) -> None:
    """Open the trackers; TensorBoard drops what a killed run logged after the checkpoint.

    Raises:
        WriteError: their folder cannot be written.
    """
    folder = Path(accelerator.logging_dir or ".")
    init = {
        "tensorboard": {"purge_step": first_step + 1},
        # these two write into the working directory otherwise
        "wandb": {"dir": str(folder)},
        "dvclive": {"dir": str(folder / "dvclive"), "resume": first_step > 0},
    }
    with writing(folder):
        if accelerator.is_main_process and accelerator.log_with:
            folder.mkdir(parents=True, exist_ok=True)
        accelerator.init_trackers(name, init_kwargs=init)


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Inside, TensorBoard's thread prints no traceback where it cannot write: `track` says so."""
    before = threading.excepthook

    def report(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            before(failure)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before


def track(accelerator: Accelerator, values: Mapping[str, Any], step: int) -> None:
    """Pass figures of a step to the trackers.

    Raises:
        WriteError: TensorBoard's file cannot be written; its thread reports that some lines later.
    """
    with writing(Path(accelerator.logging_dir or ".")):
        accelerator.log(dict(values), step=step)


def end_trackers(accelerator: Accelerator) -> None:
    """Close the trackers.

    Raises:
        WriteError: TensorBoard's file cannot be written.
    """
    with writing(Path(accelerator.logging_dir or ".")):
        accelerator.end_training()


def _check_trackers(trackers: Sequence[str]) -> None:
    for name in trackers:
        if name not in TRACKERS:
            raise PlatformError(f"trackers: {unknown('tracker', name, TRACKERS)}")
        module, package = TRACKERS[name]
        if importlib.util.find_spec(module) is None:
            raise PlatformError(
                f"trackers: {name} is not installed; `pip install {package}`, or leave it out"
            )
