"""The interface through which processes divide the tokens of a video between them.

A `WanModel` runs on one device and communicates with no other. `wanctl.distributed` may set a
`ContextParallel` on it (`model.context_parallel`) and an `Attend` on the self-attention of each
block.

Shapes: B batch, L = G * M tokens in G groups that share a timestep, D width, N heads, K head
width, P values of a token that leaves the model.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from wanctl.model.dit.rope import RopeTable

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, L, N, K) queries, keys and values of some tokens -> attention of these
queries to all tokens, (B, L, N, K)."""


class ContextParallel(Protocol):
    """Shards the tokens: each process computes some tokens of every group."""

    def shard(self, x_BGMD: Tensor) -> Tensor:
        """This process's tokens, (B, G, M', D), of all tokens (B, G, M, D)."""
        ...

    def shard_rope(self, rope: RopeTable, groups: int) -> RopeTable:
        """The rows of the rotary tables that belong to this process's tokens."""
        ...

    def gather(self, x_BLP: Tensor, groups: int) -> Tensor:
        """All tokens, (B, L, P), from the shard (B, L', P) of each process."""
        ...
