"""Several processes as a `Team`: the groups of torch.distributed and what is divided over them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
import torch.distributed as dist

from wanctl.diffusion.conditions import Model
from wanctl.distributed import world
from wanctl.distributed.cfg_parallel import DividedBatch
from wanctl.distributed.context_parallel import DividedTokens
from wanctl.distributed.fsdp import divide_weights
from wanctl.distributed.layout import Layout
from wanctl.distributed.mesh import Mesh, make_mesh
from wanctl.distributed.vae_rows import DividedRows
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.blocks import Block
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE

T = TypeVar("T")

# One process reads prompts or finishes a file while the others wait at the next collective.
PATIENCE = timedelta(hours=1)


class LostTeamError(UserError):
    """Another process went away in the middle of something; that one knows why."""


class Crew:
    """A `Team` of the processes that `torchrun` started.

    Args:
        device: this process's own.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.size = world.size()
        self.first = world.rank() == 0
        self.layout = Layout()
        self._mesh: Mesh | None = None

    def arrange(self, layout: Layout) -> None:
        """Take up a layout and say so."""
        assert layout.processes == self.size
        log.info("%s", layout)
        self._mesh = make_mesh(layout, self.device.type)
        self.layout = layout

    def share(self, make: Callable[[], T]) -> T:
        """Made by the first process, sent to the others."""
        told: list[tuple[T | None, str | None]] = [(None, None)]
        problem: UserError | None = None
        if self.first:
            try:
                told = [(make(), None)]
            except UserError as error:
                problem, told = error, [(None, str(error))]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        if problem is not None:
            raise problem
        value, message = told[0]
        if message is not None:
            raise UserError(message)
        return value  # pyright: ignore[reportReturnType]

    @property
    def loading_device(self) -> torch.device:
        """The CPU where weights will be cut: they move on block by block."""
        return torch.device("cpu") if self.layout.fsdp else self.device

    def divide(self, model: WanModel) -> Model:
        """Weights, tokens and prompts, as the layout says."""
        mesh, layout = self._mesh, self.layout
        assert mesh is not None
        if layout.fsdp:
            # Frozen: weights of several dtypes travel together only where nothing is trained.
            divide_weights(model.requires_grad_(False), mesh.weights)
        if layout.tokens > 1:
            kernel = divide_tokens(model, mesh)
            if self.first and layout.ring > 1 and kernel is not attention:
                log.warning(
                    "model.attention: self-attention around a ring has kernels of its own; the one "
                    "named serves attention to the text alone, unless parallel.ring is 1"
                )
        return DividedBatch(model, mesh.cfg) if layout.cfg > 1 else model

    def divide_rows(self, vae: WanVAE) -> DividedRows:
        """Rows of the picture."""
        assert self._mesh is not None
        return DividedRows(vae, self._mesh.everyone)


def divide_tokens(model: WanModel, mesh: Mesh) -> Kernel:
    """Make each process work on some of a video's tokens.

    Returns:
        The kernel of self-attention, which goes on to serve wherever there is no ring.
    """
    split = DividedTokens(mesh.tokens, mesh.ring, mesh.ulysses)
    model.split = split
    kernel = attention
    for block in (*model.blocks, *getattr(model, "vace_blocks", ())):
        assert isinstance(block, Block)
        kernel = block.self_attn.kernel
        block.self_attn.attend = partial(split.attend, kernel=kernel)
    return kernel


@contextmanager
def together(device: torch.device) -> Iterator[Crew]:
    """Meet the other processes; leave together.

    Args:
        device: this process's own.

    Raises:
        LostTeamError: another process went away.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Crew(device)
    except RuntimeError as error:
        # gloo reports a closed connection as a plain RuntimeError.
        if isinstance(error, dist.DistError) or "closed by peer" in str(error).lower():
            raise LostTeamError(f"process {world.rank()} lost another one") from error
        raise
    # Not after an error: the others may be in a collective, and would wait for this one.
    dist.destroy_process_group()
