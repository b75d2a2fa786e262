"""LPIPS with VGG16: perceptual distance of images, the one that most papers on autoencoders report.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018,
version 0.1. The weights come from files that the user names: torchvision's VGG16 (`features.*`) and
the heads of the `lpips` package (`lin0.model.1.weight` ...), or the state of its whole network.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.checkpoint.files.tensor_files import check_tensors, iterate_tensors

# Indices of the convolutions in torchvision's `features`, and the width after each; features are
# taken after the last convolution of a row, and pooling comes between rows.
BLOCKS = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
    ((24, 512), (26, 512), (28, 512)),
)
# Mean and deviation of ImageNet in [-1, 1], as the heads were trained with.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
# Keeps the gradient of a norm finite where all features of a position are zero.
NORM_EPS = 1e-20


class VGGDistance(nn.Module):
    """Distance of two images: 0 for equal ones, larger for less similar ones. Frozen.

    Args:
        files: safetensors or torch files that together hold the features and the heads; other
            tensors in them (a classifier) are not read.

    Raises:
        WeightsError: a file is damaged, or tensors are missing or have another shape.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        found = {
            name: tensor
            for path in files
            for stored, tensor in iterate_tensors(path)
            if (name := _plain_name(stored)) in EXPECTED
        }
        where = ", ".join(map(str, files))
        check_tensors({name: tuple(t.shape) for name, t in found.items()}, EXPECTED, where)
        self.weights = nn.ParameterDict(
            {name.replace(".", "_"): t.float().clone() for name, t in found.items()}
        )
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (N,) fp32 of images x and y, (N, 3, H, W) in [-1, 1], at least 16x16 pixels.

        Gradients flow to `x` only.
        """
        with torch.no_grad():
            features_y = self._features(y.float())
        total = x.new_zeros(x.shape[0], dtype=torch.float32)
        for level, (fx, fy) in enumerate(zip(self._features(x.float()), features_y, strict=True)):
            head = self.weights[f"lin{level}"]
            total = total + F.conv2d((fx - fy).square(), head).mean(dim=(1, 2, 3))
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        """Activations at the end of each block, each position scaled to unit length."""
        x = ((x - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        features = []
        for level, block in enumerate(BLOCKS):
            if level:
                x = F.max_pool2d(x, 2)
            for index, _ in block:
                weight = self.weights[f"features_{index}_weight"]
                bias = self.weights[f"features_{index}_bias"]
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            features.append(x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + NORM_EPS))
        return features


def _expected() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    width_in = 3
    for level, block in enumerate(BLOCKS):
        for index, width in block:
            shapes[f"features.{index}.weight"] = (width, width_in, 3, 3)
            shapes[f"features.{index}.bias"] = (width,)
            width_in = width
        shapes[f"lin{level}"] = (1, width_in, 1, 1)
    return shapes


EXPECTED = _expected()


def _plain_name(stored: str) -> str:
    """A key of EXPECTED for the name in any of the published files."""
    name = re.sub(r"^net\.slice\d\.", "features.", stored)
    return re.sub(r"^(lin\d)\.model\.1\.weight$", r"\1", name)
