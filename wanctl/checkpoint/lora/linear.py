"""A linear layer with LoRAs as parallel paths, for weights in 8 bits, which cannot hold a change.

Shapes: O outputs, I inputs, R the ranks of all low-rank paths of a layer together.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.checkpoint.lora.deltas import (
    HadamardDelta,
    KroneckerDelta,
    LowRankDelta,
    WeightDelta,
)
from wanctl.runtime.quantize import QuantizedLinear

Path = LowRankDelta | KroneckerDelta


def path_of(delta: WeightDelta) -> Path | None:
    """A delta as a path parallel to a matrix; None for those that need the matrix itself."""
    if isinstance(delta, HadamardDelta):
        return delta.as_low_rank()
    if isinstance(delta, LowRankDelta):
        return delta if delta.mid is None else None
    return delta if isinstance(delta, KroneckerDelta) else None


class LoraLinear(nn.Module):
    """A linear layer and paths in parallel to it.

    Args:
        base: the layer, quantised or not.
        paths: (number, strength, delta) of each LoRA.
        device: where it computes; None for the device of the layer.
        factors: of the strengths of all LoRAs, to be changed by `set_factors`; None: they stay.
    """

    def __init__(
        self,
        base: nn.Linear | QuantizedLinear,
        paths: Sequence[tuple[int, float, Path]],
        device: torch.device | None = None,
        factors: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        like = base.bias
        device = device or like.device
        narrow = [(n, s, d) for n, s, d in paths if isinstance(d, LowRankDelta)]
        if narrow:
            down_RI = torch.cat([d.down.flatten(1).float() for _, _, d in narrow])
            ups = [d.up.flatten(1).float() * (s * d.scale) for _, s, d in narrow]
            self.register_buffer("down", down_RI.to(device, like.dtype))
            self.register_buffer("up", torch.cat(ups, dim=1).to(device, like.dtype))
        self._is_low_rank = bool(narrow)
        self._rank_loras = [n for n, _, d in narrow for _ in range(d.down.shape[0])]
        kroneckers = [(n, s, d) for n, s, d in paths if isinstance(d, KroneckerDelta)]
        for number, (_, strength, delta) in enumerate(kroneckers):
            first, second = delta.matrices(like.device)
            first *= strength * delta.scale
            self.register_buffer(f"first{number}", first.to(device, like.dtype))
            self.register_buffer(f"second{number}", second.to(device, like.dtype))
        self._kronecker_loras = [n for n, _, _ in kroneckers]
        self._kroneckers = len(kroneckers)
        self.register_buffer("rank_factors", None)
        self.register_buffer("kronecker_factors", None)
        if factors is not None:
            empty = torch.empty(0, device=device, dtype=like.dtype)
            self.rank_factors = empty.new_empty(len(self._rank_loras))
            self.kronecker_factors = empty.new_empty(self._kroneckers)
            self.set_factors(factors)

    def set_factors(self, factors: Sequence[float]) -> None:
        """Change the factors of the strengths; one for each LoRA of the model."""
        assert self.rank_factors is not None
        assert self.kronecker_factors is not None
        for buffer, loras in (
            (self.rank_factors, self._rank_loras),
            (self.kronecker_factors, self._kronecker_loras),
        ):
            buffer.copy_(torch.tensor([factors[n] for n in loras]))

    @property
    def weight(self) -> Tensor:
        """Weight of the base layer; the runtime reads its dtype."""
        return self.base.weight

    @property
    def bias(self) -> Tensor:
        """Bias of the base layer."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        out = self.base(x)
        x = x.to(self.base.bias.dtype)
        if self._is_low_rank:
            inner = F.linear(x, self.down)
            if self.rank_factors is not None:
                inner = inner * self.rank_factors
            out = out + F.linear(inner, self.up)
        for number in range(self._kroneckers):
            first, second = self.get_buffer(f"first{number}"), self.get_buffer(f"second{number}")
            # (W1 kron W2) x = W2 X W1^T with x as a matrix X, row by row
            grid = x.unflatten(-1, (first.shape[1], second.shape[1]))
            if self.kronecker_factors is not None:
                grid = grid * self.kronecker_factors[number]
            inner = F.linear(grid, second)
            out = out + F.linear(inner.transpose(-1, -2), first).transpose(-1, -2).flatten(-2)
        return out

    down: Tensor
    up: Tensor
    rank_factors: Tensor | None
    kronecker_factors: Tensor | None
