"""Tensors that a file stores in another form than the network has them: what they stand for.

TurboDiffusion (github.com/thu-ml/TurboDiffusion) stores matrices of the transformer in int8 with
one scale for each block of 128 x 128 (`LAYER.int8_weight`, `LAYER.scale`), and the patch embedding
as a matrix instead of a kernel. Every reader of files sees `LAYER.weight` and a kernel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.model.shapes import PATCH

INT8_WEIGHT, SCALE, BLOCK = ".int8_weight", ".scale", 128
PATCH_EMBEDDING = "patch_embedding.weight"
PATCH_VOLUME = PATCH[0] * PATCH[1] * PATCH[2]
MATRIX = 2  # dimensions


@dataclass(frozen=True)
class StoredView:
    """A tensor of a network and where its file has it.

    Attributes:
        stored: name in the file.
        shape: that the network has.
        scale: name of the scales of its blocks; None where the values are plain.
    """

    stored: str
    shape: tuple[int, ...]
    scale: str | None = None

    def read(self, get: Callable[[str], Tensor]) -> Tensor:
        """The tensor; in fp32 where it has scales, else as `get` gives it, perhaps in a new shape.

        Args:
            get: reads a tensor of the file by its stored name.

        Raises:
            WeightsError: the blocks are not int8, or have other scales.
        """
        tensor = get(self.stored)
        if self.scale:
            return dequantize_blocks(self.stored, tensor, get(self.scale))
        return tensor if tuple(tensor.shape) == self.shape else tensor.reshape(self.shape)


def stored_views(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, StoredView]:
    """Name -> view of every tensor that a file stands for.

    Args:
        shapes: stored name -> shape, of all tensors of the file.
    """
    packed = {name.removesuffix(INT8_WEIGHT) for name in shapes if name.endswith(INT8_WEIGHT)}
    views: dict[str, StoredView] = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        if layer in packed and f".{leaf}" == SCALE:
            continue
        if layer in packed and f".{leaf}" == INT8_WEIGHT and f"{layer}{SCALE}" in shapes:
            views[f"{layer}.weight"] = StoredView(name, shape, f"{layer}{SCALE}")
        elif _is_patch_matrix(name, shape):
            views[name] = StoredView(name, (shape[0], shape[1] // PATCH_VOLUME, *PATCH))
        else:
            views[name] = StoredView(name, shape)
    return views


def dequantize_blocks(name: str, tensor: Tensor, scale: Tensor) -> Tensor:
    """A matrix in fp32 from int8 and one scale for each block of 128 x 128.

    Raises:
        WeightsError: not int8, or another number of scales than of blocks.
    """
    blocks = tuple(-(-side // BLOCK) for side in tensor.shape)
    if tensor.dtype != torch.int8 or tensor.ndim != MATRIX or tuple(scale.shape) != blocks:
        raise WeightsError(
            f"{name}: holds {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} with "
            f"scales {tuple(scale.shape)}; need int8, and a scale for each block of "
            f"{BLOCK} x {BLOCK}"
        )
    matrix = tensor.float()
    columns = scale.float().repeat_interleave(BLOCK, dim=1)[:, : matrix.shape[1]]
    for row, factors in zip(matrix.split(BLOCK), columns, strict=True):
        row.mul_(factors)
    return matrix


def _is_patch_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is the patch embedding as a matrix [C, channels * volume of a patch]."""
    return name.endswith(PATCH_EMBEDDING) and len(shape) == MATRIX and shape[1] % PATCH_VOLUME == 0
