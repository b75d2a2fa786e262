"""A frozen linear layer and the low-rank change of it that is trained.

LoRA (arXiv 2106.09685): W + s B A, with s = alpha / rank; rsLoRA (arXiv 2312.03732):
s = alpha / sqrt(rank). DoRA (arXiv 2402.09353): m (W + s B A) / |W + s B A|, with the norm of each
row and a trained magnitude m; as in its section 4.3 no gradient flows through the norm.

Shapes: O outputs, I inputs, R rank.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.runtime.quantize import QuantizedLinear


class LowRankLinear(nn.Module):
    """A linear layer with an adapter, which begins without effect.

    Args:
        base: the layer, which is frozen.
        rank: R, 1 to the smaller side of the layer.
        scale: s, the factor of the product.
        dropout: share of the adapter's inputs that are set to zero while it is trained; drawn from
            torch's global generator.
        with_magnitude: whether it is DoRA.
        generator: draws A, uniform in +-1/sqrt(I) as a linear layer's weights.

    Attributes:
        strength: factor of the change of the output; 0 gives the base alone.
    """

    def __init__(
        self,
        base: nn.Linear | QuantizedLinear,
        rank: int,
        scale: float,
        *,
        dropout: float,
        with_magnitude: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scale = scale
        self.dropout = dropout
        self.strength = 1.0
        device = base.bias.device
        down = torch.empty(rank, base.in_features)
        bound = 1 / math.sqrt(base.in_features)
        self.lora_A = nn.Parameter(down.uniform_(-bound, bound, generator=generator).to(device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        self.magnitude: nn.Parameter | None = None
        if with_magnitude:
            squares_O = self._base_values().square().sum(1)
            self.register_buffer("squares", squares_O, persistent=False)
            self.magnitude = nn.Parameter(self._row_norms())

    squares: Tensor

    @property
    def weight(self) -> Tensor:
        """Weight of the base; other modules read its dtype."""
        return self.base.weight

    @property
    def bias(self) -> Tensor:
        """Bias of the base."""
        return self.base.bias

    @property
    def rank(self) -> int:
        """R."""
        return self.lora_A.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O) in the dtype of the base's products."""
        out = self.base(x.to(self.base.bias.dtype))
        if not self.strength:
            return out
        hidden = self._hidden(x.to(self.lora_A.dtype))
        if self.magnitude is None and hidden.dtype == out.dtype:
            # in place: 3 % of a step at 1.3B widths
            up_RO = self.lora_B.to(out.dtype).T
            out.flatten(0, -2).addmm_(hidden.flatten(0, -2), up_RO, alpha=self.strength)
            return out
        change = F.linear(hidden, self.lora_B)
        if self.magnitude is not None:
            change = self._with_magnitude(change, out, self.magnitude)
        return out + (change * self.strength).to(out.dtype)

    def _hidden(self, x: Tensor) -> Tensor:
        """(..., R) s A x."""
        if self.training and self.dropout:
            x = F.dropout(x, self.dropout)
        return F.linear(x, self.lora_A) * self.scale

    def _with_magnitude(self, change: Tensor, out: Tensor, magnitude_O: Tensor) -> Tensor:
        """(..., O) what DoRA adds to the base's output; `change` is what LoRA adds."""
        # 1 exactly as long as neither B nor the magnitude has changed
        factor_O = magnitude_O / self._row_norms()
        plain = out - self.base.bias.to(out.dtype)
        return (factor_O - 1).to(change.dtype) * plain + factor_O.to(change.dtype) * change

    @torch.no_grad()
    def _row_norms(self) -> Tensor:
        """(O,) fp32, norms of the rows of W + s B A, without that matrix.

        |w + s b A|^2 = |w|^2 + 2 s b A w^T + s^2 b A A^T b^T
        """
        with torch.autocast(self.lora_A.device.type, enabled=False):
            a_RI, b_OR = self.lora_A.float(), self.lora_B.float()
            cross_O = (b_OR * (self._base_values() @ a_RI.T)).sum(1)
            square_O = (b_OR @ (a_RI @ a_RI.T) * b_OR).sum(1)
            total_O = self.squares + 2 * self.scale * cross_O + self.scale**2 * square_O
            return total_O.clamp_min(torch.finfo(torch.float32).tiny).sqrt()

    def _base_values(self) -> Tensor:
        """(O, I) fp32 weight of the base."""
        if isinstance(self.base, QuantizedLinear):
            return self.base.values()
        return self.base.weight.float()
