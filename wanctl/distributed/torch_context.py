"""The `DistributedContext` of several processes, over torch.distributed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
import torch.distributed as dist

from wanctl.diffusion.conditions import Model
from wanctl.distributed import world
from wanctl.distributed.cfg_parallel import CFGParallel
from wanctl.distributed.context_parallel import TorchContextParallel
from wanctl.distributed.fsdp import apply_fsdp
from wanctl.distributed.layout import Layout
from wanctl.distributed.mesh import Mesh, make_mesh
from wanctl.distributed.vae_rows import VAERowParallel
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.blocks import Block
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_vae import TinyVAE

T = TypeVar("T")

# The main process encodes prompts or writes a file while the others wait in the next collective.
COLLECTIVE_TIMEOUT = timedelta(hours=1)


class LostProcessError(UserError):
    """Another process ended during a collective operation; its own output says why."""


class TorchDistributedContext:
    """The `DistributedContext` of the processes that `torchrun` started.

    Args:
        device: the device of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.num_processes = world.size()
        self.is_main_process = world.rank() == 0
        self.layout = Layout()
        self._mesh: Mesh | None = None

    def set_layout(self, layout: Layout) -> None:
        """Make the groups of processes for a layout and log it."""
        assert layout.processes == self.num_processes
        log.info("%s", layout)
        self._mesh = make_mesh(layout, self.device.type)
        self.layout = layout

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """The main process's result of `make`; a UserError of it is raised on every process."""
        outcome: list[tuple[T | None, list[str]]] = [(None, [])]
        problem: UserError | None = None
        if self.is_main_process:
            try:
                outcome = [(make(), [])]
            except UserError as error:
                problem, outcome = error, [(None, error.lines)]
        dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        if problem is not None:
            raise problem
        value, lines = outcome[0]
        if lines:
            raise UserError(*lines)
        return value  # pyright: ignore[reportReturnType]

    @property
    def loading_device(self) -> torch.device:
        """The CPU where weights will be sharded: they move to the device block by block."""
        return torch.device("cpu") if self.layout.fsdp else self.device

    def parallelize(self, model: WanModel) -> Model:
        """Shard the weights, the tokens and the prompts as the layout says."""
        mesh, layout = self._mesh, self.layout
        assert mesh is not None
        if layout.fsdp:
            # Frozen: FSDP gathers weights of several dtypes together only if none is trained.
            apply_fsdp(model.requires_grad_(False), mesh.weights)
        if layout.tokens > 1:
            kernel = apply_context_parallel(model, mesh)
            if self.is_main_process and layout.ring > 1 and kernel is not attention:
                log.warning(
                    "model.attention: ring attention has its own kernels; the named kernel runs "
                    "cross-attention only, unless parallel.ring is 1"
                )
        return CFGParallel(model, mesh.cfg) if layout.cfg > 1 else model

    def parallelize_vae(self, vae: WanVAE | TinyVAE) -> VAERowParallel | TinyVAE:
        """Divide the rows of the frames between all processes; a tiny VAE is quick enough alone."""
        if isinstance(vae, TinyVAE):
            return vae
        assert self._mesh is not None
        return VAERowParallel(vae, self._mesh.everyone)


def apply_context_parallel(model: WanModel, mesh: Mesh) -> Kernel:
    """Shard the tokens of a video between processes.

    Returns:
        The kernel of self-attention, which still runs where the ring has one station.
    """
    context_parallel = TorchContextParallel(mesh.tokens, mesh.ring, mesh.ulysses)
    model.context_parallel = context_parallel
    kernel = attention
    for block in (*model.blocks, *getattr(model, "vace_blocks", ())):
        assert isinstance(block, Block)
        kernel = block.self_attn.kernel
        block.self_attn.attend = partial(context_parallel.attend, kernel=kernel)
    return kernel


@contextmanager
def torch_distributed_context(device: torch.device) -> Iterator[TorchDistributedContext]:
    """Join the process group of `torchrun`, and leave it together with the others.

    Args:
        device: the device of this process.

    Raises:
        LostProcessError: another process ended during a collective operation.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    try:
        yield TorchDistributedContext(device)
    except RuntimeError as error:
        # gloo reports a closed connection as a plain RuntimeError.
        if isinstance(error, dist.DistError) or "closed by peer" in str(error).lower():
            raise LostProcessError(f"process {world.rank()} lost another process") from error
        raise
    # Not after an error: the others may be in a collective and would wait for this process.
    dist.destroy_process_group()
