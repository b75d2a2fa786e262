"""Rows of `wanctl data cache`."""

from pathlib import Path

from wanctl.data.caches.use import cache_uses, delete_unused
from wanctl.data.dataset import DatasetDir
from wanctl.log import log

COLUMNS = ("cache", "tensors", "MB", "unused", "unused MB", "runs")


def list_caches(dataset: Path, *, delete: bool) -> list[tuple[str, ...]]:
    """One row per network whose results are kept: sizes, what no run uses, and the runs.

    Args:
        dataset: the data set directory.
        delete: delete what no run uses.

    Raises:
        DatasetError: there is no data set.
    """
    DatasetDir.open(dataset)
    rows, unused, unknown = [], 0, []
    for use in cache_uses(dataset):
        name = f"{use.folder.parent.name}/{use.folder.name}"
        if not use.is_recorded:
            unknown.append(name)
        unused += use.unused_bytes
        cells = [use.num_tensors, f"{use.num_bytes / 1e6:.1f}"]
        if use.is_recorded:
            cells += [len(use.unused), f"{use.unused_bytes / 1e6:.1f}"]
        else:
            cells += ["unknown", "unknown"]
        rows.append((name, *map(str, cells), ", ".join(use.runs) or "none"))
        if delete:
            delete_unused(use)
    for name in unknown:
        log.warning("%s: no run has recorded its use; a run of this version does when it starts",
                    name)  # fmt: skip
    if unused and delete:
        log.info("%s: deleted %.1f MB that no run uses", dataset, unused / 1e6)
    elif unused:
        log.info("%s: no run uses %.1f MB; --delete-unused deletes them", dataset, unused / 1e6)
    return rows
