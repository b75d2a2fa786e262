"""Context parallel: the tokens of a video sharded between processes, by Ulysses, ring or both.

Every process has some tokens of every group (so that modulation stays a row per group) in all
layers of a block. Only self-attention needs all tokens:

- Ulysses (arXiv 2309.14509): an all-to-all turns "all heads of some tokens" into "some heads of
  all tokens" and back.
- Ring (arXiv 2310.01889): keys and values are passed from process to process while each attends
  to those that it holds; the partial results are merged exactly.

With both, Ulysses runs inside each station of the ring. The shards need not have equal numbers of
tokens, so nothing is padded or masked. All of it has gradients; collectives.py says whose.

Shapes: B batch, L = G * M tokens in G groups, N heads, K head width, D width, P any width.
"""

from itertools import accumulate, pairwise

import torch
from torch import Tensor

from wanctl.distributed.collectives import all_gather, all_to_all
from wanctl.distributed.mesh import Axis
from wanctl.distributed.ring_attention import ring_attention
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
            output = ring_attention(q, k, v, self._ring, [sum(station) for station in stations])
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


def _heads_for_tokens(x_3BLNK: Tensor, axis: Axis, counts: tuple[int, ...]) -> tuple[Tensor, ...]:
    """This process's share of the heads for all tokens, from all heads of its own tokens."""
    if axis.size == 1:
        return x_3BLNK.unbind()
    x = x_3BLNK.unflatten(3, (axis.size, -1)).permute(3, 2, 0, 1, 4, 5)  # to, L, 3, B, n, K
    x = all_to_all(x.flatten(0, 1), axis, [x.shape[1]] * axis.size, list(counts))
    return x.permute(1, 2, 0, 3, 4).unbind()


def _tokens_for_heads(x_BLNK: Tensor, axis: Axis, counts: tuple[int, ...]) -> Tensor:
    """All heads of this process's tokens: the inverse of `_heads_for_tokens`."""
    if axis.size == 1:
        return x_BLNK
    mine = counts[axis.index]
    x = all_to_all(x_BLNK.transpose(0, 1), axis, list(counts), [mine] * axis.size)  # L, B, n, K
    return x.unflatten(0, (axis.size, mine)).permute(2, 1, 0, 3, 4).flatten(2, 3)
