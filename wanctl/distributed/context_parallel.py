"""Context parallel: the tokens of a video sharded between processes, by Ulysses, ring or both.

Every process has some tokens of every group (so that modulation stays a row per group) in all
layers of a block. Only self-attention needs all tokens:

- Ulysses (arXiv 2309.14509): an all-to-all turns "all heads of some tokens" into "some heads of
  all tokens" and back.
- Ring (arXiv 2310.01889): keys and values are passed from process to process while each attends
  to those that it holds; the partial results are merged exactly.

With both, Ulysses runs inside each station of the ring. The shards need not have equal numbers of
tokens, so nothing is padded or masked.

Shapes: B batch, L = G * M tokens in G groups, N heads, K head width, D width, P any width.
"""

from itertools import accumulate, pairwise

import torch
import torch.distributed as dist
from torch import Tensor

from wanctl.distributed.mesh import Axis
from wanctl.distributed.ring_attention import PartialSoftmax, attend_partial, merge
from wanctl.errors import UserError
from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.rope import RopeTable


class TorchContextParallel:
    """A `ContextParallel` over torch.distributed.

    Args:
        tokens: the processes that together hold all tokens, ring stations outermost.
        ring: the processes with the same heads.
        ulysses: the processes of one station of the ring.
    """

    def __init__(self, tokens: Axis, ring: Axis, ulysses: Axis) -> None:
        assert tokens.size == ring.size * ulysses.size
        self._tokens = tokens
        self._ring = ring
        self._ulysses = ulysses
        self._counts: list[int] = []  # tokens of each process, in the current video

    def shard(self, x_BGMD: Tensor) -> Tensor:
        """This process's part of every group; a copy, since blocks may overwrite it."""
        if torch.is_grad_enabled() and x_BGMD.requires_grad:
            raise ValueError("sharded tokens have no gradients; run under torch.no_grad()")
        groups, tokens = x_BGMD.shape[1:3]
        self._counts = [groups * n for n in self._sizes(tokens)]
        return x_BGMD[:, :, self._mine(tokens)].contiguous()

    def shard_rope(self, rope: RopeTable, groups: int) -> RopeTable:
        """The rows of the tables that belong to `shard`."""
        return RopeTable(*(self._rows(table, groups) for table in rope))

    def gather(self, x_BLP: Tensor, groups: int) -> Tensor:
        """The tokens of all processes, (B, L, P), in the order of the video."""
        parts = all_gather(x_BLP, self._tokens, self._counts, dim=1)
        return torch.cat([part.unflatten(1, (groups, -1)) for part in parts], 2).flatten(1, 2)

    def attend(
        self, q_BLNK: Tensor, k_BLNK: Tensor, v_BLNK: Tensor, *, kernel: Kernel = attention
    ) -> Tensor:
        """Self-attention of this process's tokens to those of all, (B, L, N, K).

        Args:
            q_BLNK: queries of this process's tokens.
            k_BLNK: their keys.
            v_BLNK: their values.
            kernel: used where there is no ring; a ring needs the sum of each partial softmax,
                which a kernel does not return.
        """
        q, k = q_BLNK.to(v_BLNK.dtype), k_BLNK.to(v_BLNK.dtype)
        stations = list(zip(*[iter(self._counts)] * self._ulysses.size, strict=True))
        here = stations[self._ring.index]
        q, k, v = _heads_for_tokens(torch.stack((q, k, v_BLNK)), self._ulysses, here)
        if self._ring.size == 1:
            output = kernel(q, k, v)
        else:
            output = _ring_attention(q, k, v, self._ring, [sum(station) for station in stations])
        return _tokens_for_heads(output, self._ulysses, here)

    def _sizes(self, tokens: int) -> list[int]:
        """Number of one group's tokens on each process."""
        few, more = divmod(tokens, self._tokens.size)
        if not few:
            raise UserError(
                f"parallel: {tokens} tokens cannot be divided between {self._tokens.size} "
                "processes; use fewer processes or a larger frame"
            )
        return [few + (i < more) for i in range(self._tokens.size)]

    def _mine(self, tokens: int) -> slice:
        bounds = list(pairwise(accumulate(self._sizes(tokens), initial=0)))
        return slice(*bounds[self._tokens.index])

    def _rows(self, table: Tensor, groups: int) -> Tensor:
        of_groups = table.unflatten(0, (groups, -1))
        return of_groups[:, self._mine(of_groups.shape[1])].flatten(0, 1)


def all_gather(x: Tensor, axis: Axis, counts: list[int], dim: int) -> list[Tensor]:
    """The tensors of all processes of an axis; `counts` are their sizes along `dim`."""
    if axis.size == 1:
        return [x]
    shapes = [(*x.shape[:dim], count, *x.shape[dim + 1 :]) for count in counts]
    parts = [x.new_empty(shape) for shape in shapes]
    if len(set(counts)) == 1:
        dist.all_gather(parts, x.contiguous(), group=axis.group)
        return parts
    for index, part in enumerate(parts):  # not every backend gathers tensors of unequal sizes
        if index == axis.index:
            part.copy_(x)
        dist.broadcast(part, group=axis.group, group_src=index)
    return parts


def _heads_for_tokens(x_3BLNK: Tensor, axis: Axis, counts: tuple[int, ...]) -> tuple[Tensor, ...]:
    """This process's share of the heads for all tokens, from all heads of its own tokens."""
    if axis.size == 1:
        return x_3BLNK.unbind()
    x = x_3BLNK.unflatten(3, (axis.size, -1)).permute(3, 2, 0, 1, 4, 5)  # to, L, 3, B, n, K
    x = x.contiguous()
    rest = x.shape[2:]
    received = x.new_empty((sum(counts), *rest))
    dist.all_to_all_single(
        received, x.flatten(0, 1), list(counts), [x.shape[1]] * axis.size, group=axis.group
    )
    return received.permute(1, 2, 0, 3, 4).unbind()


def _tokens_for_heads(x_BLNK: Tensor, axis: Axis, counts: tuple[int, ...]) -> Tensor:
    """All heads of this process's tokens: the inverse of `_heads_for_tokens`."""
    if axis.size == 1:
        return x_BLNK
    x = x_BLNK.transpose(0, 1).contiguous()  # L, B, n, K
    mine = counts[axis.index]
    received = x.new_empty((axis.size * mine, *x.shape[1:]))
    dist.all_to_all_single(received, x, [mine] * axis.size, list(counts), group=axis.group)
    return received.unflatten(0, (axis.size, mine)).permute(2, 1, 0, 3, 4).flatten(2, 3)


def _ring_attention(q: Tensor, k: Tensor, v: Tensor, ring: Axis, counts: list[int]) -> Tensor:
    """Attention to the keys of all stations; the next keys arrive during the computation."""
    held = torch.stack((k, v))
    merged: PartialSoftmax | None = None
    for step in range(ring.size):
        arriving, transfers = None, []
        if step < ring.size - 1:
            source = (ring.index - step - 1) % ring.size  # the station whose keys arrive next
            arriving = held.new_empty((*held.shape[:2], counts[source], *held.shape[3:]))
            transfers = ring.shift(held, arriving)
        part = attend_partial(q, *held.unbind())
        merged = part if merged is None else merge(merged, part)
        for transfer in transfers:
            transfer.wait()
        if arriving is not None:
            held = arriving
    assert merged is not None
    return merged.output.to(v.dtype)
