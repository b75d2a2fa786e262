"""Which parts are unfinished, for the processes that share one curation run.

Every process lists the footage and assigns it to the same parts (`DatasetDir.assign_sources`);
`wanctl/data/parts/shards.py` says which of them works on which.
"""

from collections.abc import Sequence

from wanctl.curate.registry import Unit
from wanctl.data.accounting import unaccounted
from wanctl.data.dataset import DatasetDir


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
