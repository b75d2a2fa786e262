"""Batches of clips by weight, without replacement, whose shares are exactly those of the weights.

Drawing several clips of a batch one after the other without putting them back flattens weights:
of five clips, of which one weighs 2.4 times the others, a batch of three has it with a share of
0.27 instead of 0.37. Systematic sampling (Madow 1949) has no such bias: the clips lie on a line of
length 1, each as long as its share of the weight, and the samples of a batch lie 1/batch_size
apart on it. A clip whose share is at most 1/batch_size occurs at most once in a batch.
"""

from collections.abc import Sequence

import numpy as np


class SystematicSampler:
    """An endless sequence of batches, each a function of its number; all weights are positive.

    Batches form epochs of ceil(items / batch_size). The samples of an epoch lie evenly spaced on
    the line, so that an item with n times the mean weight occurs n times in it, rounded up or
    down at random without bias. The order of items on the line and the order of batches are drawn
    for each epoch. A batch costs batch_size x log(items), a new epoch items.

    Args:
        weights: (N,) positive; their sum does not matter.
        batch_size: items per batch.
        key: seeds the order; another key gives an independent sequence.
    """

    def __init__(
        self, weights: np.ndarray | Sequence[float], batch_size: int, key: Sequence[int]
    ) -> None:
        self._weights = np.asarray(weights, dtype=np.float64)
        self._batch_size = batch_size
        self._key = tuple(key)
        self.epoch_batches = max(1, -(-len(self._weights) // batch_size))
        self._epoch: int | None = None

    def batch(self, number: int) -> np.ndarray:
        """(batch_size,) int64 indices of the items of batch `number`, from 0, in random order."""
        epoch, place = divmod(number, self.epoch_batches)
        self._start(epoch)
        return self._items(self._batches[place : place + 1])[0]

    def counts(self, num_batches: int) -> np.ndarray:
        """(N,) int64: how often each item occurs in the batches before number `num_batches`."""
        counts = np.zeros(len(self._weights), dtype=np.int64)
        for first in range(0, num_batches, self.epoch_batches):
            self._start(first // self.epoch_batches)
            items = self._items(self._batches[: num_batches - first])
            counts += np.bincount(items.ravel(), minlength=len(counts))
        return counts

    def _start(self, epoch: int) -> None:
        """Draw the orders of an epoch, unless it is the one that was drawn last."""
        if epoch == self._epoch:
            return
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((*self._key, epoch))))
        self._order = random.permutation(len(self._weights))
        self._ends = np.cumsum(self._weights[self._order])
        self._ends /= self._ends[-1]
        self._batches = random.permutation(self.epoch_batches)
        self._offset = random.random()
        self._epoch = epoch

    def _items(self, batches: np.ndarray) -> np.ndarray:
        """(M,) places of batches on the line -> (M, batch_size) items."""
        across = np.arange(self._batch_size) * self.epoch_batches
        slots = self.epoch_batches * self._batch_size
        places = (batches[:, None] + across + self._offset) / slots
        found = np.searchsorted(self._ends, places, side="right")
        return self._order[np.minimum(found, len(self._order) - 1)]  # a place may round to 1
