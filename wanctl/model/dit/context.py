"""The context of the transformer's cross-attention: text, and in some models image tokens.

Neither depends on the timestep. So their keys and values can be computed once per prompt and used
in every step (`WanModel.precompute_cross_attention`); training computes them in each forward pass,
on the CPU without the padding.

A prompt of 40 tokens has 512 rows of which 472 are zeros, and the model attends to all of them.
All zero rows have the same keys and values, so one row is kept and represents the others.

Shapes: B batch, S text tokens, R kept rows of them, I image tokens, D width, N heads, K head width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Context(NamedTuple):
    """Embedded tokens, from which every block computes its own keys and values."""

    text: Tensor  # (B, S, D), or (B, R, D) where padding is set
    image: Tensor | None = None  # (B, I, D)
    padding: "Padding | None" = None


@dataclass(frozen=True)
class Padding:
    """How many text tokens each kept row represents.

    Attributes:
        rows: (B, S) index of the kept row of each token.
        bias: (B, 1, 1, R) fp32 logarithm of the number of tokens of each row. Added to the scores
            it equals that many equal keys: n * exp(s) = exp(s + log n).
    """

    rows: Tensor
    bias: Tensor


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of the cross-attention of one block.

    Attributes:
        k: (B, R, N, K) keys of the text, normed.
        v: (B, R, N, K) values of the text.
        padding: set where R is less than the number of tokens.
        image_k: (B, I, N, K) keys of image tokens.
        image_v: (B, I, N, K) values of image tokens.
    """

    k: Tensor
    v: Tensor
    padding: Padding | None = None
    image_k: Tensor | None = None
    image_v: Tensor | None = None

    def __len__(self) -> int:
        """Batch size."""
        return len(self.k)

    def expand(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens, (B, S, N, K) each."""
        if self.padding is None:
            return self.k, self.v
        rows = self.padding.rows
        if len(rows) == 1:
            return self.k[:, rows[0]], self.v[:, rows[0]]
        items = torch.arange(len(rows), device=rows.device)[:, None]
        return self.k[items, rows], self.v[items, rows]


@dataclass(frozen=True)
class PrecomputedContext:
    """Keys and values of a batch of prompts for every block; `WanModel` takes it as its context.

    Attributes:
        blocks: one for each main block, in order.
        control: one for each control block (VACE), in order.
    """

    blocks: list[KeysValues]
    control: list[KeysValues]

    def __len__(self) -> int:
        """Batch size."""
        return len(self.blocks[0])


def fold_padding(context_BSE: Tensor) -> tuple[Tensor, Padding | None]:
    """Drop all but one of the zero rows at the end of a batch of texts.

    Of texts that differ in length the shorter ones keep several zero rows, each of which
    represents an equal part of their padding.

    Returns:
        The kept rows, (B, R, E), and their padding; None where every row is kept.
    """
    batch, tokens = context_BSE.shape[:2]
    used = context_BSE.any(dim=2) * torch.arange(1, tokens + 1, device=context_BSE.device)
    used_B = used.amax(dim=1).cpu()
    kept = min(int(used_B.max()) + 1, tokens)
    if kept == tokens:
        return context_BSE, None
    rows_BS = torch.arange(tokens).minimum(used_B[:, None])
    counts = torch.ones(batch, kept)
    for row, length in zip(counts, used_B.tolist(), strict=True):
        row[length:] = (tokens - length) / (kept - length)
    bias = counts.log()[:, None, None].to(context_BSE.device)
    return context_BSE[:, :kept], Padding(rows_BS.to(context_BSE.device), bias)
