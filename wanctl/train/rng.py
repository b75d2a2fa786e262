"""Random numbers keyed by what they are for, so that no generator state has to be saved.

Every sample of noise, timesteps or dropout has its own stream: (seed, stream, step, micro-batch). A
run that resumes at step k gets the numbers of the uninterrupted run at step k, on any device and
with any number of processes, as long as steps x micro-batches are the same.
"""

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class MicrobatchIndex:
    """Position of a micro-batch in a run; with `seed` it decides all that is random in it.

    Attributes:
        seed: the recipe's seed.
        step: optimizer step, from 0.
        micro: micro-batch within the step over all processes: accumulation index x processes
            + rank.
    """

    seed: int
    step: int
    micro: int


def keyed_seed(*key: int | str) -> int:
    """A seed in [0, 2**63) that depends on every part of the key, the same in every process."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def keyed_generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by the key; the global generator is not touched.

    Numbers are generated on the CPU and copied, so a run on a GPU uses those of a run on a CPU.
    """
    return torch.Generator().manual_seed(keyed_seed(*key))
