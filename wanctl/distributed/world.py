"""Rank and number of processes, from the environment that `torchrun` sets. Torch-free."""

import os

from wanctl.errors import UserError


def rank() -> int:
    """Rank of this process, from 0."""
    return _number("RANK", 0)


def local_rank() -> int:
    """Rank of this process on its machine, which is the index of its GPU."""
    return _number("LOCAL_RANK", 0)


def size() -> int:
    """Number of processes."""
    return _number("WORLD_SIZE", 1)


def check() -> None:
    """Check that the processes can find each other.

    Raises:
        UserError: names the variable that is missing or wrong.
    """
    if size() > 1:
        for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
            if not os.environ.get(name):
                raise UserError(
                    f"environment: WORLD_SIZE is {size()} and {name} is not set; start the "
                    "processes with torchrun, or unset WORLD_SIZE"
                )
        if rank() >= size():
            raise UserError(f"environment: RANK is {rank()}; must be below WORLD_SIZE ({size()})")


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= default):
        raise UserError(
            f"environment: {name} is {text[:40]!r}; must be a whole number from {default}, as "
            f"torchrun sets it, or unset it"
        )
    return int(text)
