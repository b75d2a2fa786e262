"""The clips of a batch that no earlier filter drops."""

import numpy as np

from wanctl.curate.api import ClipBatch


def survivors(batch: ClipBatch) -> np.ndarray:
    """(N,) bool mask of the clips that no earlier filter drops."""
    alive = np.ones(len(batch), dtype=bool)
    for verdicts in batch.verdicts.values():
        alive &= np.asarray(verdicts.keep, dtype=bool)
    return alive
