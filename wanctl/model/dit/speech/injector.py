"""S2V's attention to sound, after some blocks: the tokens of each latent frame read its sound.

Parameter names are the published ones.

Shapes: B batch, T latent frames, M tokens of a latent frame, J tokens of its sound, L = T * M
tokens of the video, D width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.dit.blocks import Attention, product_dtype, run_in_weight_dtype
from wanctl.model.dit.context import Context
from wanctl.model.dit.precision import Numerics
from wanctl.model.variants import DiTShape

EPS = 1e-5


class AdaptiveNorm(nn.Module):
    """Shift and scale of a norm by the sound of the whole frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self, whole_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale, (B, D) fp32 each."""
        shift, scale = run_in_weight_dtype(self.linear, F.silu(whole_BD)).float().chunk(2, dim=1)
        return shift, scale


class AudioInjector(nn.Module):
    """The attentions, in the order of their blocks."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        assert shape.speech is not None
        count = range(len(shape.speech.blocks))
        self.injector = nn.ModuleList(Attention(shape, numerics) for _ in count)
        self.injector_adain_layers = nn.ModuleList(AdaptiveNorm(shape.dim) for _ in count)
        self._numerics = numerics

    def forward(self, number: int, x_BLD: Tensor, sound_BTJD: Tensor) -> Tensor:
        """What the attention of this number adds to the video's tokens, (B, L, D).

        Args:
            number: 0 for that after the first of the blocks.
            x_BLD: the video's tokens.
            sound_BTJD: tokens of the sound, that of the whole frame last.
        """
        batch, frames = sound_BTJD.shape[:2]
        sound = sound_BTJD.flatten(0, 1)
        shift, scale = self.injector_adain_layers[number](sound[:, -1])
        x = x_BLD.unflatten(1, (frames, -1)).flatten(0, 1)[:, None]  # (B T, 1, M, D)
        shift, scale = shift[:, None, None], scale[:, None, None]
        attention = self.injector[number]
        assert isinstance(attention, Attention)
        normed = self._numerics.modulated_norm(x, shift, scale, EPS)
        text = sound[:, :-1].to(product_dtype(attention.k))
        read = attention(normed, Context(text))
        return read.flatten(1, 2).unflatten(0, (batch, frames)).flatten(1, 2)
