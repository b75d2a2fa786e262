"""Draw words: greedily, or at random with one seed for each request; and say why a text ended."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import LogitsProcessor


class SeededSampling(LogitsProcessor):
    """Makes the likeliest token a draw from the distribution (the Gumbel-max trick).

    log p / T + G with G from the standard Gumbel distribution is largest at a token drawn from
    softmax(log p / T) (Maddison et al. 2014, "A* Sampling"). Each row draws from its own generator,
    so that an answer does not depend on which requests share its batch.

    Args:
        temperatures: of each row; 0 leaves the row as it is.
        seeds: of each row.
        device: of the scores.
    """

    def __init__(
        self, temperatures: Sequence[float], seeds: Sequence[int], device: torch.device
    ) -> None:
        self._temperatures = temperatures
        self._generators = [torch.Generator(device).manual_seed(seed % 2**63) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        """The scores (B, V) float of the next token, with noise."""
        del input_ids
        rows = []
        for row, temperature, generator in zip(
            scores.float(), self._temperatures, self._generators, strict=True
        ):
            if temperature > 0:
                # -log of an exponential variable is Gumbel distributed
                noise = torch.empty_like(row).exponential_(generator=generator)
                row = row / temperature - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()
            rows.append(row)
        return torch.stack(rows)


@dataclass(frozen=True)
class Ending:
    """Where the text of a row ends.

    Attributes:
        ids: of the text, without the token that ended it and what follows.
        finish: `stop` at such a token, `length` at the limit of tokens.
    """

    ids: list[int]
    finish: Literal["stop", "length"]


def read_ending(new_ids: Tensor, end_ids: Collection[int]) -> Ending:
    """Cut the (L,) tokens of one row after its text."""
    ids: list[int] = new_ids.tolist()
    for position, token in enumerate(ids):
        if token in end_ids:
            return Ending(ids[:position], "stop")
    return Ending(ids, "length")
