"""Shards of one curation run among processes that do not communicate.

Every process lists the footage and assigns it to the same parts (`DatasetDir.assign_sources`);
part number p belongs to shard i of n where p mod n is i.
"""

import re
from collections.abc import Sequence

from wanctl.curate.registry import Unit
from wanctl.data.accounting import unaccounted
from wanctl.data.dataset import DatasetDir
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


def unfinished(dataset: DatasetDir, units: Sequence[Unit]) -> list[str]:
    """Parts of all shards in which a file or a clip has no result yet."""
    now = DatasetDir.open(dataset.path)
    tables = [unit.table for unit in units]
    missing = []
    for part, sources in now.source_parts():
        present = [source for source in sources if source not in now.removed]
        if unaccounted(now, part, present) or (
            now.has_part("clips", part)
            and any(
                not now.has_part(table, part) or now.unmeasured(part, table) for table in tables
            )
        ):
            missing.append(part)
    return missing
