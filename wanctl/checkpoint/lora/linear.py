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
        paths: (strength, delta) of each LoRA.
        device: where it computes; None for the device of the layer.
    """

    def __init__(
        self,
        base: nn.Linear | QuantizedLinear,
        paths: Sequence[tuple[float, Path]],
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        like = base.bias
        device = device or like.device
        narrow = [(s, d) for s, d in paths if isinstance(d, LowRankDelta)]
        if narrow:
            down_RI = torch.cat([d.down.flatten(1).float() for _, d in narrow])
            up_OR = torch.cat([d.up.flatten(1).float() * (s * d.scale) for s, d in narrow], dim=1)
            self.register_buffer("down", down_RI.to(device, like.dtype))
            self.register_buffer("up", up_OR.to(device, like.dtype))
        self._is_low_rank = bool(narrow)
        kroneckers = [(s, d) for s, d in paths if isinstance(d, KroneckerDelta)]
        for number, (strength, delta) in enumerate(kroneckers):
            first, second = delta.matrices(like.device)
            first *= strength * delta.scale
            self.register_buffer(f"first{number}", first.to(device, like.dtype))
            self.register_buffer(f"second{number}", second.to(device, like.dtype))
        self._kroneckers = len(kroneckers)

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
            out = out + F.linear(F.linear(x, self.down), self.up)
        for number in range(self._kroneckers):
            first, second = self.get_buffer(f"first{number}"), self.get_buffer(f"second{number}")
            # (W1 kron W2) x = W2 X W1^T with x as a matrix X, row by row
            grid = x.unflatten(-1, (first.shape[1], second.shape[1]))
            inner = F.linear(grid, second)
            out = out + F.linear(inner.transpose(-1, -2), first).transpose(-1, -2).flatten(-2)
        return out

    down: Tensor
    up: Tensor
