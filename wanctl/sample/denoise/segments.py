"""Divide the steps of a batch between the transformers that compute them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.phases import LoraStrengths, StepRule
from wanctl.model.variants import LOW, Expert
from wanctl.sample.request import SampleRequest


@dataclass(frozen=True)
class DenoiseSegment:
    """Consecutive steps of a batch that one transformer computes.

    Attributes:
        requests: the batch.
        denoising: its state.
        expert: HIGH or LOW; None where the model has one transformer.
        lora_strengths: factors of the LoRAs' strengths.
        steps: step numbers.
        order: its place among the segments of the batch.
    """

    requests: Sequence[SampleRequest]
    denoising: Denoising
    expert: Expert | None
    lora_strengths: LoraStrengths
    steps: range
    order: int

    @property
    def turn(self) -> tuple[bool, int]:
        """Sorts segments of several batches so that each transformer is loaded once for all."""
        return self.expert == LOW, self.order


def segments_of(
    requests: Sequence[SampleRequest], denoising: Denoising, rules: Sequence[StepRule]
) -> Iterator[DenoiseSegment]:
    """The segments of a batch, in order.

    Args:
        requests: the batch.
        denoising: its state.
        rules: one for each step.
    """
    start = 0
    groups = groupby(rules, key=lambda rule: rule.transformer)
    for order, ((expert, strengths), steps) in enumerate(groups):
        stop = start + len(list(steps))
        span = range(start, stop)
        yield DenoiseSegment(requests, denoising, expert, strengths, span, order)
        start = stop
