"""What the transformer asks where processes divide a video's tokens between them.

A `WanModel` runs on one device and knows no other. From outside it may be given a `TokenSplit`
(`model.split`, and its `attend` for the self-attention of each block); wanctl/parallel makes them.

Shapes: B batch, L = G * M tokens in G groups that share a timestep, D width, N heads, K head
width, P values of a token that leaves the model.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from wanctl.model.dit.rope import RopeTable

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, L, N, K) queries, keys and values of some tokens -> what these queries find in all tokens."""


class TokenSplit(Protocol):
    """How the tokens are divided: each process works on some tokens of every group."""

    def share(self, x_BGMD: Tensor) -> Tensor:
        """Those of this process."""
        ...

    def positions(self, rope: RopeTable, groups: int) -> RopeTable:
        """Rotary tables of those of this process."""
        ...

    def whole(self, x_BLP: Tensor, groups: int) -> Tensor:
        """All tokens, from what each process has."""
        ...
