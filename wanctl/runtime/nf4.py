"""NF4: matrices in 4 bits whose levels are quantiles of the normal distribution.

NormalFloat of QLoRA (arXiv 2305.14314, section 3 and appendix E): blocks of 64 weights share their
largest absolute value as a scale (fp32), so that a weight takes 4.5 bits. Two codes share a byte.

Shapes: O outputs, I inputs, K blocks.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 64
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def quantize_nf4(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """The codes (K, 32) uint8 and the scales (K,) fp32 of a matrix, row by row.

    The last block is filled up with zeros where the matrix is no multiple of 64.
    """
    flat = weight_OI.reshape(-1)
    blocks_KB = F.pad(flat, (0, -flat.numel() % BLOCK)).view(-1, BLOCK).float()
    scale_K = blocks_KB.abs().amax(dim=1)
    levels = torch.tensor(LEVELS, device=flat.device)
    bounds = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(blocks_KB / scale_K.clamp_min(1e-12)[:, None], bounds).to(torch.uint8)
    return codes[:, ::2] | (codes[:, 1::2] << 4), scale_K


def dequantize_nf4(codes: Tensor, scale_K: Tensor, shape: tuple[int, int]) -> Tensor:
    """The matrix of this shape, fp32, that codes and scales stand for."""
    blocks_KB = F.embedding(codes.int(), _pairs(codes.device)).flatten(1)
    return (blocks_KB * scale_K[:, None]).view(-1)[: shape[0] * shape[1]].view(shape)


@cache
def _pairs(device: torch.device) -> Tensor:
    """(256, 2) fp32: the levels of both codes in a byte."""
    levels = torch.tensor(LEVELS)
    low, high = levels.repeat(16), levels.repeat_interleave(16)
    return torch.stack([low, high], dim=1).to(device)
