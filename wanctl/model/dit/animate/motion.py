"""Animate's motion encoder: pictures of a face to vectors of its expression.

The design is that of LIA (arXiv 2203.09043), from parts of StyleGAN2.

Weights are stored at unit variance and scaled where they are used. Parameter names are the
published ones.

Shapes: B batch, C channels, Y/X rows/columns, E width.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.variants import FaceShape

SLOPE = 0.2
BLUR = (1.0, 3.0, 3.0, 1.0)
LAST_SIDE = 4  # of the last convolution's kernel, which leaves one value per channel
LINEAR_LAYERS = 5
EPS = 1e-8


class ScaledConv(nn.Module):
    """A convolution without bias whose weights are scaled by their fan-in."""

    def __init__(
        self, inputs: int, outputs: int, side: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))
        self.scale = 1 / math.sqrt(inputs * side**2)
        self.stride, self.padding = stride, padding

    def forward(self, x_BCYX: Tensor) -> Tensor:
        """(B, C', Y', X')."""
        weight = self.weight * self.scale
        return F.conv2d(x_BCYX, weight, stride=self.stride, padding=self.padding)


class ScaledLinear(nn.Module):
    """A linear layer whose weights are scaled by their fan-in."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x_BE: Tensor) -> Tensor:
        """(B, E')."""
        return F.linear(x_BE, self.weight * self.scale, self.bias)


class Activation(nn.Module):
    """A bias, then a leaky ReLU that keeps the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, channels, 1, 1))

    def forward(self, x_BCYX: Tensor) -> Tensor:
        """The same shape."""
        return F.leaky_relu(x_BCYX + self.bias, SLOPE) * math.sqrt(2)


def blur_kernel() -> Tensor:
    """(4, 4) fp32, the weights of a low-pass filter."""
    line = torch.tensor(BLUR)
    return torch.outer(line, line) / line.sum() ** 2


class Blur(nn.Module):
    """A low-pass filter before a convolution of stride 2."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.register_buffer("kernel", blur_kernel())
        self.padding = padding

    def forward(self, x_BCYX: Tensor) -> Tensor:
        """(B, C, Y', X')."""
        assert isinstance(self.kernel, Tensor)
        channels = x_BCYX.shape[1]
        kernel = self.kernel.to(x_BCYX.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(x_BCYX, kernel, padding=self.padding, groups=channels)


class HalvingBlock(nn.Module):
    """Two convolutions beside a shortcut; half the rows and columns."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(ScaledConv(inputs, inputs, 3, padding=1), Activation(inputs))
        self.conv2 = nn.Sequential(
            Blur(2), ScaledConv(inputs, outputs, 3, stride=2), Activation(outputs)
        )
        self.skip = nn.Sequential(Blur(1), ScaledConv(inputs, outputs, 1, stride=2))

    def forward(self, x_BCYX: Tensor) -> Tensor:
        """(B, C', Y/2, X/2)."""
        return (self.conv2(self.conv1(x_BCYX)) + self.skip(x_BCYX)) / math.sqrt(2)


class _Appearance(nn.Module):
    def __init__(self, shape: FaceShape) -> None:
        super().__init__()
        first, *_, last = channels = shape.channels
        self.convs = nn.Sequential(
            nn.Sequential(ScaledConv(3, first, 1), Activation(first)),
            *(HalvingBlock(*pair) for pair in pairwise(channels)),
            ScaledConv(last, shape.style, LAST_SIDE),
        )


class _Encoder(nn.Module):
    def __init__(self, shape: FaceShape) -> None:
        super().__init__()
        self.net_app = _Appearance(shape)
        widths = [shape.style] * LINEAR_LAYERS + [shape.motions]
        self.fc = nn.Sequential(*(ScaledLinear(*pair) for pair in pairwise(widths)))


class _Directions(nn.Module):
    def __init__(self, shape: FaceShape) -> None:
        super().__init__()
        self.direction = nn.Module()
        self.direction.weight = nn.Parameter(torch.empty(shape.width, shape.motions))


class MotionEncoder(nn.Module):
    """Pictures of a face to sums of orthogonal directions of motion."""

    def __init__(self, shape: FaceShape) -> None:
        super().__init__()
        self.enc = _Encoder(shape)
        self.dec = _Directions(shape)

    def forward(self, pictures_B3YX: Tensor) -> Tensor:
        """(B, E) fp32 from square pictures in [-1, 1] of the side that the sizes state."""
        features = self.enc.net_app.convs(pictures_B3YX.to(next(self.enc.parameters()).dtype))
        amounts = self.enc.fc(features.flatten(1)).float()
        weight = self.dec.direction.weight
        assert isinstance(weight, Tensor)
        directions, _ = torch.linalg.qr(weight.float() + EPS)
        return amounts @ directions.T
