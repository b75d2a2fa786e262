"""Latents and embeddings that were computed before training, and the batches made of them."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from torch import Tensor

from wanctl.data.captions import WeightedCaption
from wanctl.diffusion.conditions import Conditions
from wanctl.train.inputs.windows import ClipWindow

TaskCaptions = Mapping[str, Mapping[str, Sequence[WeightedCaption]]]
"""Task -> clip id -> captions that its samples come with."""


@dataclass(frozen=True)
class EncodedData:
    """Access to latents, embeddings and captions that were computed before training.

    Attributes:
        latents: normalised latents (C, T, Y, X) fp32 of a window.
        texts: embedding (tokens, E) fp32 of a caption.
        captions: clip id -> its captions; one of them is sampled each time.
        shares: clip id -> how often each of its captions is sampled, adding up to 1; clips
            that are not in it sample theirs equally often.
        task_captions: task -> clip id -> captions of its samples, in the place of those above.
    """

    latents: Callable[[ClipWindow], Tensor]
    texts: Callable[[str], Tensor]
    captions: Mapping[str, Sequence[str]]
    shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    task_captions: TaskCaptions = field(default_factory=dict)

    def caption(self, clip: str, point: float, task: str) -> str:
        """The caption of a clip in whose part of [0, 1) the point lies."""
        if own := self.task_captions.get(task, {}).get(clip):
            return _at(point, [each.text for each in own], [each.share for each in own])
        captions = self.captions[clip]
        if clip not in self.shares:
            return captions[int(point * len(captions))]
        return _at(point, captions, self.shares[clip])


def _at(point: float, captions: Sequence[str], shares: Sequence[float]) -> str:
    index = bisect_right(list(accumulate(shares)), point)
    return captions[min(index, len(captions) - 1)]


@dataclass(frozen=True)
class DiTBatch:
    """Samples of one micro-batch, on the CPU.

    Attributes:
        latents: (B, C, T, Y, X) fp32 clean latents that the model is trained to make.
        window_shape: (T, Y, X) of the windows' latents, without what a task adds to them; the
            bucket's shift of the noise levels goes by it.
        conditions: of the model.
        task: name of the task that was drawn.
    """

    latents: Tensor
    window_shape: tuple[int, int, int]
    conditions: Conditions
    task: str
