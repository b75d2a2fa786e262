"""Compares a listing of footage with the sources of a data set, and records what it found.

New files get parts of their own. A file that changed is scanned again, and the clips of a file that
is gone no longer count; both cost their own clips alone.
"""

from collections.abc import Collection
from pathlib import Path

from wanctl.data.accounting import LISTING
from wanctl.data.dataset import DatasetDir
from wanctl.log import log
from wanctl.redact import public_uri
from wanctl.video.footage import FootageListing
from wanctl.video.sources import disk_path, url_of

Parts = list[tuple[str, list[str]]]

SHOWN = 3
"""Files that a log line names."""


def assign_parts(
    dataset: DatasetDir, folder: str | Path, listing: FootageListing, per_part: int
) -> Parts:
    """The parts that this footage belongs to, and the parts that earlier runs split.

    Args:
        dataset: opened for writing.
        folder: the one that was listed.
        listing: what it holds.
        per_part: new sources per part.

    Returns:
        (part name, all its sources) each.
    """
    gone = sorted(_gone(dataset, folder, listing))
    new = sorted(set(gone) - dataset.removed)
    back = sorted(dataset.removed & {file.uri for file in listing.videos})
    if new:
        log.warning("%d files are gone; their clips do not count: %s", len(new), _some(new))
    if back:
        log.info("%d files that were gone are back: %s", len(back), _some(back))
    named = {part for part, _ in dataset.assign_sources(listing.videos, per_part, gone)}
    if changed := dataset.changed:
        log.warning("%d files changed and are scanned again: %s", len(changed), _some(changed))
    named |= set(dataset.parts("clips"))
    _record(dataset, folder, listing, gone)
    _warn_of_earlier_scans(dataset)
    return [(part, sources) for part, sources in dataset.source_parts() if part in named]


def _warn_of_earlier_scans(dataset: DatasetDir) -> None:
    """Columns of combing and repeats are measured while scanning, not by a filter."""
    scanned = dataset.read("clips", ["id", "moving_share"])["moving_share"]
    if scanned.null_count:
        log.warning(
            "%d clips were scanned by an earlier version, which looked for combing at fewer places "
            "and did not tell drawings from repeated frames; curate into a new folder (--out) to "
            "measure them anew",
            scanned.null_count,
        )


def _gone(dataset: DatasetDir, folder: str | Path, listing: FootageListing) -> set[str]:
    """Known sources below the folder that are not listed, and not below an unreadable entry."""
    url = url_of(folder)
    root = (public_uri(url) if url else str(disk_path(folder).absolute())).rstrip("/") + "/"
    known = {each["uri"] for each in dataset.sources if each["uri"].startswith(root)}
    known -= {file.uri for file in listing.videos}
    problems = [path for path, _, _ in listing.problems]
    return {uri for uri in known if not _below(uri, problems)}


def _below(uri: str, entries: Collection[str]) -> bool:
    return any(uri == entry or uri.startswith(f"{entry.rstrip('/')}/") for entry in entries)


def _record(
    dataset: DatasetDir, folder: str | Path, listing: FootageListing, gone: Collection[str]
) -> None:
    """Log the skipped entries of the folder; write them to `quarantine/` and `passed_over/`."""
    shown = public_uri(str(folder))
    if listing.passed:
        passed = listing.passed_over()
        log.info("%s: %d files are no footage: %s", shown, listing.others, passed)
    if listing.hidden:
        log.info("%s: %d names that begin with a dot are skipped", shown, listing.hidden)
    counts = [{"ending": name, "files": number} for name, number in sorted(listing.passed.items())]
    if counts or dataset.has_part("passed_over", LISTING):
        dataset.write_part("passed_over", LISTING, counts)
    why = f"is no longer in {shown}; its clips do not count"
    problems = [*listing.problems, *((source, "removed", why) for source in gone)]
    rows = [
        {"source": source, "clip_id": "", "stage": "listing", "kind": kind, "error": error}
        for source, kind, error in problems
    ]
    if listing.problems:
        first = f"{rows[0]['source']}: {rows[0]['error']}"
        log.warning(
            "%s: %d entries are quarantined; the first: %s", shown, len(listing.problems), first
        )
    if rows or dataset.has_part("quarantine", LISTING):
        dataset.write_part("quarantine", LISTING, rows)


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(list(names)[:SHOWN]) + more
