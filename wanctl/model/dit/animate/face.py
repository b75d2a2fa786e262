"""Animate's path from faces to tokens: vectors of motion, tokens of each latent frame, attention.

Parameter names are the published ones.

Shapes: B batch, F frames, T latent frames, M tokens of a latent frame, J face tokens of a latent
frame, D width, E width of motion vectors, N heads, K head width, H heads of the face encoder.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.blocks import product_dtype
from wanctl.model.variants import DiTShape, FaceShape

KERNEL = 3
EPS = 1e-6


class CausalConv(nn.Module):
    """A convolution over time that repeats the first frame before the start."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, KERNEL, stride)

    def forward(self, x_BFE: Tensor) -> Tensor:
        """(B, F', E')."""
        x_BEF = F.pad(x_BFE.transpose(1, 2), (KERNEL - 1, 0), mode="replicate")
        return self.conv(x_BEF).transpose(1, 2)


class FaceEncoder(nn.Module):
    """Vectors of motion to tokens of latent frames, four frames of the video each but the first."""

    def __init__(self, shape: FaceShape, dim: int) -> None:
        super().__init__()
        self.conv1_local = CausalConv(shape.width, shape.hidden * shape.heads)
        self.conv2 = CausalConv(shape.hidden, shape.hidden, 2)
        self.conv3 = CausalConv(shape.hidden, shape.hidden, 2)
        self.out_proj = nn.Linear(shape.hidden, dim)
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self._heads = shape.heads

    def forward(self, motion_BFE: Tensor) -> Tensor:
        """(B, T + 1, J, D), zeros for the latent frame of the character's picture."""
        batch = len(motion_BFE)
        x = self.conv1_local(motion_BFE.to(self.out_proj.weight.dtype))
        x = x.unflatten(2, (self._heads, -1)).transpose(1, 2).flatten(0, 1)  # (B H, F, E)
        for conv in (self.conv2, self.conv3):
            x = conv(activated(x))
        x = self.out_proj(activated(x)).unflatten(0, (batch, -1)).transpose(1, 2)
        padding = self.padding_tokens.expand(batch, x.shape[1], 1, -1)
        tokens_BTJD = torch.cat((x, padding), dim=2)
        return torch.cat((torch.zeros_like(tokens_BTJD[:, :1]), tokens_BTJD), dim=1)


class FaceBlock(nn.Module):
    """Attention of the tokens of each latent frame to the face tokens of the same frame."""

    def __init__(self, shape: DiTShape) -> None:
        super().__init__()
        dim, head = shape.dim, shape.head_dim
        self.linear1_q = nn.Linear(dim, dim)
        self.linear1_kv = nn.Linear(dim, 2 * dim)
        self.linear2 = nn.Linear(dim, dim)
        self.q_norm = nn.RMSNorm(head, eps=EPS)
        self.k_norm = nn.RMSNorm(head, eps=EPS)
        self._num_heads = shape.num_heads
        self.kernel: Kernel = attention

    def forward(self, x_BLD: Tensor, face_BTJD: Tensor) -> Tensor:
        """What is added to the residual stream, (B, L, D)."""
        batch, frames = face_BTJD.shape[:2]
        dtype = product_dtype(self.linear1_q)
        q = self._heads(self.linear1_q(_normed(x_BLD).to(dtype)))
        k, v = self.linear1_kv(_normed(face_BTJD).to(dtype)).chunk(2, dim=-1)
        q = _rms(q, self.q_norm).unflatten(1, (frames, -1)).flatten(0, 1)  # (B T, M, N, K)
        k = _rms(self._heads(k), self.k_norm).flatten(0, 1)  # (B T, J, N, K)
        y = self.kernel(q, k, self._heads(v).flatten(0, 1)).unflatten(0, (batch, frames))
        return self.linear2(y.flatten(3).flatten(1, 2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._num_heads, -1))


class FaceAdapter(nn.Module):
    """The face blocks, under the name that published files give them."""

    def __init__(self, shape: DiTShape, count: int) -> None:
        super().__init__()
        self.fuser_blocks = nn.ModuleList(FaceBlock(shape) for _ in range(count))


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x.float(), x.shape[-1:], eps=EPS)


def activated(x: Tensor) -> Tensor:
    """A norm without weights, then SiLU."""
    return F.silu(F.layer_norm(x, x.shape[-1:], eps=EPS))


def _rms(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)
