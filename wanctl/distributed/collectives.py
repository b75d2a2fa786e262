"""Collectives along an axis of processes, with their gradients.

Processes that share the tokens of a video compute one loss together, each of them all of it. A
gradient of a parameter on one of them is then what this process's tokens contribute: the sum over
the processes is the whole. Data parallel engines average over all processes instead, so
`all_gather`, through which every loss passes, multiplies gradients by the number of processes.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wanctl.distributed.mesh import Axis


def all_gather(x: Tensor, axis: Axis, counts: list[int], dim: int) -> list[Tensor]:
    """The tensors of all processes of an axis; `counts` are their sizes along `dim`.

    The gradient of this process's tensor is the one that arrives for it here, times the number of
    processes; see above.
    """
    if axis.size == 1:
        return [x]
    return list(_AllGather.apply(x, axis, counts, dim))


def all_to_all(x: Tensor, axis: Axis, sent: list[int], received: list[int]) -> Tensor:
    """Exchange rows along dimension 0: to each process of an axis its part, from each its own.

    Args:
        x: what is sent, in the order of the processes.
        axis: the processes.
        sent: rows for each of them.
        received: rows from each of them.
    """
    return x if axis.size == 1 else _AllToAll.apply(x, axis, sent, received)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, axis: Axis, counts: list[int], dim: int
    ) -> tuple[Tensor, ...]:
        ctx.axis = axis
        shapes = [(*x.shape[:dim], count, *x.shape[dim + 1 :]) for count in counts]
        parts = [x.new_empty(shape) for shape in shapes]
        if len(set(counts)) == 1:
            dist.all_gather(parts, x.contiguous(), group=axis.group)
            return tuple(parts)
        for index, part in enumerate(parts):  # not every backend gathers tensors of unequal sizes
            if index == axis.index:
                part.copy_(x)
            dist.broadcast(part, group=axis.group, group_src=index)
        return tuple(parts)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None, None, None]:
        return gradients[ctx.axis.index] * ctx.axis.size, None, None, None


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, axis: Axis, sent: list[int], received: list[int]
    ) -> Tensor:
        ctx.exchange = axis, received, sent
        y = x.new_empty((sum(received), *x.shape[1:]))
        dist.all_to_all_single(y, x.contiguous(), received, sent, group=axis.group)
        return y

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None, None]:
        return all_to_all(gradient, *ctx.exchange), None, None, None
