"""Latents and embeddings that were computed before training, and the batches made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.train.inputs.windows import ClipWindow


@dataclass(frozen=True)
class EncodedData:
    """Access to latents, embeddings and captions that were computed before training.

    Attributes:
        latents: normalised latents (C, T, Y, X) fp32 of a window.
        texts: embedding (tokens, E) fp32 of a caption.
        captions: clip id -> its captions; one of them is sampled each time.
    """

    latents: Callable[[ClipWindow], Tensor]
    texts: Callable[[str], Tensor]
    captions: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class DiTBatch:
    """Samples of one micro-batch, on the CPU.

    Attributes:
        latents: (B, C, T, Y, X) fp32 clean latents that the model is trained to make.
        conditions: of the model.
        task: name of the task that was drawn.
    """

    latents: Tensor
    conditions: Conditions
    task: str
