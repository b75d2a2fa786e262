"""The frames before a clip as few tokens: the older, the larger the patches they are cut into.

The design is that of FramePack (arXiv 2504.12626). Parameter names are the published ones.

Shapes: B batch, C latent channels, T latent frames, Y/X latent rows/columns, L tokens, D width.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.shapes import PATCH

# Name, side in time and in space of a patch in latents, latent frames, and rotary positions of the
# frames of patches. From the newest frame to the oldest, whose frames come first in time.
LEVELS = (
    ("proj", 1, 2, 1, (-1,)),
    ("proj_2x", 2, 4, 2, (-3,)),
    ("proj_4x", 4, 8, 16, (-19, -14, -9, -4)),
)
PACKED_FRAMES = sum(frames for _, _, _, frames, _ in LEVELS)
LARGEST_PATCH = 8


class FramePacker(nn.Module):
    """Three patch embeddings, for three ages of the frames."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        for name, time, side, _, _ in LEVELS:
            size = (time, side, side)
            self.add_module(name, nn.Conv3d(channels, dim, size, stride=size))

    def forward(self, latents_BCTYX: Tensor) -> Tensor:
        """Tokens (B, L, D) of the last frames; fewer than PACKED_FRAMES follow on zeros."""
        latents = latents_BCTYX[:, :, -PACKED_FRAMES:]
        latents = F.pad(latents, (0, 0, 0, 0, PACKED_FRAMES - latents.shape[2], 0))
        found = []
        for name, _, _, frames, _ in LEVELS:
            conv = getattr(self, name)
            newest = latents[:, :, -frames:].to(conv.weight.dtype)
            found.append(conv(newest).flatten(2).transpose(1, 2))
            latents = latents[:, :, :-frames]
        return torch.cat(found, dim=1)


def packed_positions(rows: int, columns: int) -> list[list[Sequence[int]]]:
    """Rotary positions of the frames, rows and columns of each level's tokens.

    Args:
        rows: of latents, as `columns`; the positions are spread over those of the video's tokens.
        columns: of latents.
    """

    def spread(latents: int, side: int) -> list[int]:
        ends = np.linspace(0, latents // PATCH[1] - 1, latents // side)
        return ends.astype(int).tolist()

    return [
        [positions, spread(rows, side), spread(columns, side)]
        for _, _, side, _, positions in LEVELS
    ]
