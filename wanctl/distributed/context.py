"""The processes of one run, as a command uses them.

`torch_context.py` holds the form for several processes. It is a file of its own, imported only
where it is needed: it takes 3.3 s of CPU time and 670 modules, torch's compiler among them, which
a single process, as nearly every run is, does not pay.
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
from wanctl.model.vae.tiny_vae import TinyVAE

if TYPE_CHECKING:
    from wanctl.distributed.vae_rows import VAERowParallel

T = TypeVar("T")


class DistributedContext(Protocol):
    """Collective operations of a run; every process calls the same ones in the same order.

    Attributes:
        device: the device of this process.
        num_processes: number of processes.
        is_main_process: whether this process writes the files.
        layout: see `set_layout`.
    """

    device: torch.device
    num_processes: int
    is_main_process: bool
    layout: Layout

    def set_layout(self, layout: Layout) -> None:
        """Set the processes along each axis; once, before `parallelize`."""
        ...

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """The main process's result of `make`, on every process, which also raise its UserError."""
        ...

    @property
    def loading_device(self) -> torch.device:
        """The device on which `parallelize` takes a model."""
        ...

    def parallelize(self, model: WanModel) -> Model:
        """The model, with its computation divided between all processes."""
        ...

    def parallelize_vae(self, vae: WanVAE | TinyVAE) -> "WanVAE | TinyVAE | VAERowParallel":
        """The VAE, with its rows divided between all processes."""
        ...


class SingleProcessContext:
    """The context of a single process, which divides nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.num_processes = 1
        self.is_main_process = True
        self.layout = Layout()

    def set_layout(self, layout: Layout) -> None:
        """Check that the layout is for one process."""
        assert layout.processes == 1

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """The result of `make`."""
        return make()

    @property
    def loading_device(self) -> torch.device:
        """The device of this process."""
        return self.device

    def parallelize(self, model: WanModel) -> Model:
        """Return the model unchanged."""
        return model

    def parallelize_vae(self, vae: WanVAE | TinyVAE) -> "WanVAE | TinyVAE | VAERowParallel":
        """Return the VAE unchanged."""
        return vae


@contextmanager
def distributed_context(device: str) -> Iterator[DistributedContext]:
    """The context of the processes that `torchrun` started, or of this single process.

    Args:
        device: as in the recipe; `auto` and `cuda` give each process a GPU of its own.

    Raises:
        UserError: no such device, or another process ended during a collective operation.
    """
    world.check()
    if world.size() == 1:
        yield SingleProcessContext(pick_device(device))
        return
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
