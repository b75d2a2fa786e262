"""The grid of processes, and its axes along which collectives run."""

from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from wanctl.distributed.layout import Layout


@dataclass(frozen=True)
class Axis:
    """The processes that differ from this one in one coordinate.

    Attributes:
        index: of this process among them.
        size: number of these processes.
        group: for collectives; None where size is 1.
    """

    index: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None

    def shift(self, out: Tensor, into: Tensor) -> list[dist.Work]:
        """Start to send `out` to the next process and to receive `into` from the previous one."""
        assert self.group is not None
        after, before = (self.index + 1) % self.size, (self.index - 1) % self.size
        return dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, out, group=self.group, group_peer=after),
                dist.P2POp(dist.irecv, into, group=self.group, group_peer=before),
            ]
        )


@dataclass(frozen=True)
class Mesh:
    """All axes of a layout, and the one-dimensional mesh of all processes for FSDP."""

    cfg: Axis
    ring: Axis
    ulysses: Axis
    tokens: Axis  # ring and ulysses together, stations of the ring outermost
    everyone: Axis
    weights: DeviceMesh


def make_mesh(layout: Layout, device_type: str) -> Mesh:
    """Make the groups of processes of a layout; every process has to call this."""
    fine = init_device_mesh(
        device_type,
        (layout.data, layout.cfg, layout.ring, layout.ulysses),
        mesh_dim_names=("data", "cfg", "ring", "ulysses"),
    )
    coarse = init_device_mesh(
        device_type,
        (layout.data, layout.cfg, layout.tokens),
        mesh_dim_names=("data", "cfg", "tokens"),
    )
    row = init_device_mesh(device_type, (layout.processes,), mesh_dim_names=("weights",))
    return Mesh(
        cfg=_axis(fine, "cfg"),
        ring=_axis(fine, "ring"),
        ulysses=_axis(fine, "ulysses"),
        tokens=_axis(coarse, "tokens"),
        everyone=_axis(row, "weights"),
        weights=row,
    )


def _axis(mesh: DeviceMesh, name: str) -> Axis:
    axis = mesh[name]
    return Axis(axis.get_local_rank(), axis.size(), axis.get_group() if axis.size() > 1 else None)
