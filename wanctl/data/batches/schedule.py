"""Which bucket each micro-batch of a run has: drawn once for all processes, so that none waits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanctl.data.buckets import BucketWithProbability

# Draws are stratified over so many: the shares of the buckets are exact in each such block.
BLOCK = 256
STREAM = 1


class DrawnBucket(NamedTuple):
    """A bucket's index, and how many earlier draws of the run gave the same one."""

    bucket: int
    earlier: int


class BucketSchedule:
    """A sequence of buckets by probability, as a function of (seed, number of the draw).

    A micro-batch of every process is one draw: processes work on the same shape at the same time.
    With buckets drawn by each process, 8 GPUs idled 19 % of the time in a recipe with 81-frame
    videos and images.

    Args:
        buckets: with probabilities and first steps.
        served: for each, whether there are clips for it; others are never drawn.
        seed: of the run.
        accumulate: draws per step.
    """

    def __init__(
        self,
        buckets: Sequence[BucketWithProbability],
        served: Sequence[bool],
        *,
        seed: int,
        accumulate: int,
    ) -> None:
        self._seed = seed
        self._accumulate = accumulate
        starts = [b.from_step if clips else None for b, clips in zip(buckets, served, strict=True)]
        # Where no bucket may be drawn at first, the earliest one is.
        first = min(start for start in starts if start is not None)
        self._phases = np.array(sorted({first, *(s for s in starts if s is not None)}))
        self._limits = np.empty((len(self._phases), len(buckets)))
        for phase, limits in zip(self._phases, self._limits, strict=True):
            chances = [
                bucket.probability if start is not None and start <= phase else 0.0
                for bucket, start in zip(buckets, starts, strict=True)
            ]
            limits[:] = np.cumsum(chances)
            limits /= limits[-1]
        self._blocks: list[np.ndarray] = []
        self._before = [np.zeros(len(buckets), dtype=np.int64)]

    def bucket(self, number: int) -> DrawnBucket:
        """The bucket of draw `number`, from 0: step x accumulate + accumulation index.

        Raises:
            IndexError: the number is negative.
        """
        if number < 0:
            raise IndexError(number)
        block, place = divmod(number, BLOCK)
        self._draw_until(block)
        drawn = self._blocks[block]
        index = int(drawn[place])
        earlier = self._before[block][index] + np.count_nonzero(drawn[:place] == index)
        return DrawnBucket(index, int(earlier))

    def counts(self, num_draws: int) -> np.ndarray:
        """(buckets,) int64: how often each bucket occurs in the first draws."""
        block, place = divmod(num_draws, BLOCK)
        self._draw_until(block)
        return self._before[block] + self._count(self._blocks[block][:place])

    def _draw_until(self, block: int) -> None:
        """Draw the blocks up to this one; 4,000 of them (a million draws) take 0.2 s once."""
        while len(self._blocks) <= block:
            number = len(self._blocks)
            key = (self._seed, STREAM, number)
            random = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
            points = (random.permutation(BLOCK) + 0.999 * random.random(BLOCK)) / BLOCK
            steps = (number * BLOCK + np.arange(BLOCK)) // self._accumulate
            phases = np.searchsorted(self._phases, steps, side="right").clip(1) - 1
            drawn = np.empty(BLOCK, dtype=np.int16)
            for phase in np.unique(phases):
                limits, inside = self._limits[phase], phases == phase
                drawn[inside] = np.searchsorted(limits, points[inside], side="right")
            self._blocks.append(drawn)
            self._before.append(self._before[-1] + self._count(drawn))

    def _count(self, drawn: np.ndarray) -> np.ndarray:
        return np.bincount(drawn, minlength=self._limits.shape[1])
