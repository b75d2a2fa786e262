"""Rank and number of processes, from the environment that `torchrun` sets. Torch-free."""

import os


def rank() -> int:
    """Rank of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Rank of this process on its machine, which is the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def size() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))
