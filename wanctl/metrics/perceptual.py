"""ST-LPIPS: perceptual distance of images, from AlexNet features that tolerate small shifts.

Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022. The weights are those
of the `stlpips-pytorch` package. The network is written out here because that package imports
IPython, prints, and would compute gradients for weights that never change.
"""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import UserError

WEIGHTS = Path("weights", "vST0.0", "alex_shift_tolerant.pth")
# Below this the third blur has fewer pixels than its reflection padding.
MIN_SIDE_PX = 32
# Keeps the gradient of a norm finite where all features of a position are zero.
NORM_EPS = 1e-20


class PerceptualWeightsError(UserError):
    """The package with the weights is not installed."""


class PerceptualDistance(nn.Module):
    """Distance of two images: 0 for equal ones, larger for less similar ones. Frozen.

    Raises:
        PerceptualWeightsError: `stlpips-pytorch` is not installed.
    """

    shift: Tensor
    scale: Tensor
    blur: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = torch.load(_weights_path(), map_location="cpu", weights_only=True)
        self.register_buffer("shift", weights["scaling_layer.shift"])
        self.register_buffer("scale", weights["scaling_layer.scale"])
        taps = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("blur", (taps[:, None] * taps)[None, None])
        layers = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
        self.convs = nn.ParameterList(weights[f"net.{name}.weight"] for name in layers)
        self.biases = nn.ParameterList(weights[f"net.{name}.bias"] for name in layers)
        self.heads = nn.ParameterList(weights[f"lin{i}.model.1.weight"] for i in range(5))
        self.requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (N,) fp32 of images x and y, (N, 3, H, W) in [-1, 1].

        Gradients flow to `x` only. Sides under 32 px are enlarged to 32 px.
        """
        with torch.no_grad():
            features_y = self._features(y.float())
        total = x.new_zeros(x.shape[0], dtype=torch.float32)
        for fx, fy, head in zip(self._features(x.float()), features_y, self.heads, strict=True):
            total = total + F.conv2d((fx - fy).square(), head).mean(dim=(1, 2, 3))
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        """Activations after each of the five convolutions, each position scaled to unit length."""
        height, width = x.shape[-2:]
        if min(height, width) < MIN_SIDE_PX:
            size = (max(height, MIN_SIDE_PX), max(width, MIN_SIDE_PX))
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        x = (x - self.shift) / self.scale
        features = []
        for index, padding in enumerate((2, 2, 1, 1, 1)):
            if index in (1, 2):
                x = self._halve(F.max_pool2d(x, 3, stride=1))
            x = F.conv2d(x, self.convs[index], self.biases[index], padding=padding)
            if index == 0:
                # On CPU pooling is ten times as fast in this layout, the complete distance 10 %.
                x = self._halve(x.contiguous(memory_format=torch.channels_last))
            x = F.relu(x)
            features.append(x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + NORM_EPS))
        return features

    def _halve(self, x: Tensor) -> Tensor:
        """Blur, then drop every second row and column."""
        kernel = self.blur.expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, stride=2, groups=x.shape[1])


def _weights_path() -> Path:
    spec = importlib.util.find_spec("stlpips_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise PerceptualWeightsError(
            "the perceptual loss needs the weights in `stlpips-pytorch`: `pip install "
            "stlpips-pytorch`, or set train_vae.loss.perceptual to 0"
        )
    return Path(spec.submodule_search_locations[0]) / WEIGHTS
