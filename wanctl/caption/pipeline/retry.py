"""What `wanctl caption --retry` names: checks whose flags, or failures, are tried again."""

from collections.abc import Sequence

import pyarrow as pa

from wanctl.caption.pipeline.tables import ALL_FLAGS
from wanctl.data.accounting import MACHINE_KINDS, failures_part
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError, unknown
from wanctl.log import log

_KINDS = (*MACHINE_KINDS, "error")


def check_retry(dataset: DatasetDir, names: Sequence[str]) -> tuple[str, ...]:
    """The names of checks among what is tried again.

    Raises:
        UserError: no flag and no failure of this data set has such a name.
    """
    checks = {
        reason.partition(":")[0]
        for table in dataset.tables("caption_flags")
        for reasons in dataset.read(table, ["checks"])["checks"].to_pylist()
        for reason in reasons
    }
    for name in names:
        if name not in (known := {ALL_FLAGS, *_KINDS, *checks}):
            raise UserError(f"--retry: {unknown('check or kind of failure', name, known)}")
    return tuple(name for name in names if name not in _KINDS)


def forget(
    dataset: DatasetDir, table: str | None, names: Sequence[str], parts: Sequence[str]
) -> None:
    """Drop failures of decoding for captions, so that these clips are tried again.

    Args:
        dataset: opened for writing.
        table: of the captions; None: no model runs.
        names: kinds of failures besides those of the machine, which are always tried again.
        parts: of the clips table.
    """
    if table is None:
        return
    kinds, count = {*MACHINE_KINDS, *names}, 0
    for part in (failures_part(each, table) for each in parts):
        if dataset.has_part("quarantine", part):
            rows = dataset.read("quarantine", parts=[part])
            kept = [kind not in kinds for kind in rows["kind"].to_pylist()]
            count += len(kept) - sum(kept)
            if not any(kept):
                dataset.remove_part("quarantine", part)
            elif not all(kept):
                dataset.write_part("quarantine", part, rows.filter(pa.array(kept)))
    if count:
        log.info("%d clips that could not be decoded are tried again", count)
