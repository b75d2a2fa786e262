"""S2V's path from hidden states of an audio encoder to tokens of each latent frame.

The encoder's layers are mixed by learned weights; convolutions over time, which see no later frame,
make tokens of every fourth frame. Parameter names are the published ones.

Shapes: B batch, S layers of the audio encoder, E width of a layer, F frames, T latent frames,
J tokens of a latent frame, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.dit.animate.face import CausalConv, activated
from wanctl.model.variants import SpeechShape

# Repeated before the start, so that the convolutions see a steady sound there; and the latent
# frames that these make, which are dropped.
FRAMES_BEFORE = 73
LATENTS_BEFORE = 19
START_WEIGHT = 0.01


class SoundEncoder(nn.Module):
    """Mixed layers to tokens of latent frames: some for attention, one for the whole frame."""

    def __init__(self, shape: SpeechShape, dim: int) -> None:
        super().__init__()
        quarter, half = dim // 4, dim // 2
        self.conv1_local = CausalConv(shape.width, quarter * shape.tokens)
        self.conv1_global = CausalConv(shape.width, quarter)
        self.conv2 = CausalConv(quarter, half, 2)
        self.conv3 = CausalConv(half, dim, 2)
        self.final_linear = nn.Linear(dim, dim)
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self._tokens = shape.tokens

    def forward(self, sound_BFE: Tensor) -> Tensor:
        """(B, T, J, D): the tokens for attention, a learned one, and that of the whole frame."""
        batch = len(sound_BFE)
        x = self.conv1_local(sound_BFE).unflatten(2, (self._tokens, -1))
        local_BTJD = self._compressed(x.transpose(1, 2).flatten(0, 1))
        local_BTJD = local_BTJD.unflatten(0, (batch, -1)).transpose(1, 2)
        whole_BTD = self.final_linear(self._compressed(self.conv1_global(sound_BFE)))
        padding = self.padding_tokens.expand(batch, local_BTJD.shape[1], 1, -1)
        return torch.cat((local_BTJD, padding, whole_BTD[:, :, None]), dim=2)

    def _compressed(self, x: Tensor) -> Tensor:
        """A quarter of the frames."""
        for conv in (self.conv2, self.conv3):
            x = conv(activated(x))
        return activated(x)


class AudioEncoder(nn.Module):
    """Hidden states of the audio encoder to tokens."""

    def __init__(self, shape: SpeechShape, dim: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((1, shape.layers, 1, 1), START_WEIGHT))
        self.encoder = SoundEncoder(shape, dim)

    def forward(self, states_BSEF: Tensor) -> Tensor:
        """(B, T, J, D) of 4T frames, the whole frame's token last."""
        states_BSEF = states_BSEF.to(self.weights.dtype)
        before = states_BSEF[..., :1].expand(-1, -1, -1, FRAMES_BEFORE)
        weights = F.silu(self.weights)
        mixed_BEF = (torch.cat((before, states_BSEF), dim=3) * weights / weights.sum(1)).sum(1)
        return self.encoder(mixed_BEF.transpose(1, 2))[:, LATENTS_BEFORE:]
