"""Parts of the Fun family: an adapter for a camera path, and tokens of a reference picture.

Parameter names are the published ones.

Shapes: B batch, C channels, T latent frames, H/W pixels, Y/X latent rows/columns, L tokens,
D width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.dit.blocks import run_in_weight_dtype
from wanctl.model.shapes import PATCH


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x_BDYX: Tensor) -> Tensor:
        """The same shape."""
        return x_BDYX + self.conv2(F.relu(self.conv1(x_BDYX)))


class CameraAdapter(nn.Module):
    """Rays of a camera path -> one vector per token, added to the tokens once, before the blocks.

    Args:
        channels: of the rays of a latent frame.
        stride: pixels per latent row and column.
        dim: width of the transformer.
    """

    def __init__(self, channels: int, stride: int, dim: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels * stride**2, dim, PATCH[1:], stride=PATCH[1:])
        self.residual_blocks = nn.Sequential(ResidualBlock(dim))

    def forward(self, rays_BCTHW: Tensor) -> Tensor:
        """(B, L, D) in the dtype of the weights, from rays at the size of the video's pixels."""
        frames = rays_BCTHW.transpose(1, 2)
        cells = F.pixel_unshuffle(frames.flatten(0, 1), self.stride)
        y = self.residual_blocks(run_in_weight_dtype(self.conv, cells))
        return y.unflatten(0, frames.shape[:2]).flatten(3).transpose(2, 3).flatten(1, 2)


def reference_tokens(latents_BCYX: Tensor, conv: nn.Conv2d) -> Tensor:
    """Tokens of a reference picture, (B, L, D) in the dtype of the weights."""
    return run_in_weight_dtype(conv, latents_BCYX).flatten(2).transpose(1, 2)
