"""The processes of one run, as a command sees them.

Imports nothing heavy: one process alone, which is nearly every run, pays nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from wanctl.device import pick_device
from wanctl.diffusion.conditions import Model
from wanctl.distributed import world
from wanctl.distributed.layout import Layout
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE

if TYPE_CHECKING:
    from wanctl.distributed.vae_rows import VAERowParallel

T = TypeVar("T")


class DistributedContext(Protocol):
    """What the processes of a run do together. Every process calls the same in the same order.

    Attributes:
        device: this process's own.
        size: number of processes.
        first: this is the one that writes files.
        layout: see `set_layout`.
    """

    device: torch.device
    num_processes: int
    is_main_process: bool
    layout: Layout

    def set_layout(self, layout: Layout) -> None:
        """Say how work is divided, before anything is."""
        ...

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """What the first process makes, on every process; its mistakes as well."""
        ...

    @property
    def loading_device(self) -> torch.device:
        """Where `parallelize` wants a model."""
        ...

    def parallelize(self, model: WanModel) -> Model:
        """The same model, worked on by all processes."""
        ...

    def parallelize_vae(self, vae: WanVAE) -> "WanVAE | VAERowParallel":
        """The same VAE, worked on by all processes."""
        ...


class SingleProcessContext:
    """A team of one: everything is as it was."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.num_processes = 1
        self.is_main_process = True
        self.layout = Layout()

    def set_layout(self, layout: Layout) -> None:
        """Nothing is divided."""
        assert layout.processes == 1

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """Make it."""
        return make()

    @property
    def loading_device(self) -> torch.device:
        """The device."""
        return self.device

    def parallelize(self, model: WanModel) -> Model:
        """The model."""
        return model

    def parallelize_vae(self, vae: WanVAE) -> "WanVAE | VAERowParallel":
        """The VAE."""
        return vae


@contextmanager
def distributed_context(device: str) -> Iterator[DistributedContext]:
    """The processes that `torchrun` started, or this one alone.

    Args:
        device: as in the recipe; `auto` and `cuda` give each process a GPU of its own.

    Raises:
        UserError: no such device, or another process went away.
    """
    if world.size() == 1:
        yield SingleProcessContext(pick_device(device))
        return
    # Brings torch's compiler along: seconds that a single process need not wait.
    from wanctl.distributed.torch_context import torch_distributed_context  # noqa: PLC0415

    with torch_distributed_context(_own_device(device)) as context:
        yield context


def _own_device(name: str) -> torch.device:
    if ":" in name:
        raise UserError(
            f"device: got {name!r} for {world.size()} processes; say auto, cuda or cpu, and "
            "CUDA_VISIBLE_DEVICES for a choice of GPUs"
        )
    if pick_device(name).type == "cpu":
        return torch.device("cpu")
    if world.local_rank() >= torch.cuda.device_count():
        raise UserError(
            f"device: process {world.local_rank()} of this machine has no GPU, for there are "
            f"{torch.cuda.device_count()}; start one process per GPU"
        )
    return torch.device("cuda", world.local_rank())
