"""Shards of one run among processes that do not communicate: which of them works on which part.

Part number p belongs to shard i of n where p mod n is i.
"""

import re

from wanctl.errors import UserError

_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n".

    Raises:
        UserError: it is not of that form, or i is not below n.
    """
    match = _SHARD.fullmatch(text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if index >= count:
        raise UserError(
            f"--shard: got {text!r}; expected i/n with 0 <= i < n, e.g. 0/8 (in a Slurm array job: "
            "--shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT)"
        )
    return index, count


def belongs(part: str, share: tuple[int, int]) -> bool:
    """Whether a part belongs to this shard."""
    index, count = share
    return int(part.rpartition("-")[2]) % count == index
