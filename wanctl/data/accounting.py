"""Which files and clips have a result, and how to drop results so that a run makes them again.

A file has a result if it has clips or a row in the quarantine of its part. A clip has a result of
a filter if it has a row of evidence or a row in the quarantine of that filter. Everything else is
done by the next `wanctl curate`: no part, no file and no clip is lost without anybody noticing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from wanctl.redact import public_uri, redact
from wanctl.video.workers.worker_pool import Failure

MACHINE_KINDS = ("crash", "memory", "timeout", "unreachable")
"""Failures that say more about the machine, its load or its network than about the file."""

LISTING = "part-listing"
"""Part of the quarantine for entries of the folder of footage; every run writes it anew."""

_pc: Any = pc  # its functions are unknown to type checkers


class Tables(Protocol):
    """What is used of `DatasetDir`."""

    def parts(self, table: str) -> list[str]:
        """Names of finished parts."""
        ...

    def tables(self, kind: str) -> list[str]:
        """Names of the tables of a kind."""
        ...

    def has_part(self, table: str, part: str) -> bool:
        """Whether a part exists."""
        ...

    def same_ids(self, part: str, *tables: str) -> bool:
        """Whether a part holds the same clips in several tables."""
        ...

    def read(
        self, table: str, columns: Sequence[str] | None = None, *, parts: Sequence[str]
    ) -> pa.Table:
        """Rows of some parts."""
        ...

    def write_part(
        self, table: str, part: str, rows: pa.Table, *, schema: pa.Schema | None = None
    ) -> None:
        """Replace a part."""
        ...

    def remove_part(self, table: str, part: str) -> None:
        """Delete a part."""
        ...


def unaccounted(tables: Tables, part: str, sources: Sequence[str]) -> list[str]:
    """Sources of a part that have neither clips nor a row in the quarantine."""
    if not tables.has_part("clips", part):
        return list(sources)
    found = set(tables.read("clips", ["source"], parts=[part])["source"].unique().to_pylist())
    without = [source for source in sources if source not in found]
    if without and tables.has_part("quarantine", part):
        failed = set(tables.read("quarantine", ["source"], parts=[part])["source"].to_pylist())
        without = [source for source in without if source not in failed]
    return without


def unmeasured(tables: Tables, part: str, table: str, removed: Collection[str] = ()) -> set[str]:
    """Clips of a part that have neither evidence in a table nor a failure of it.

    Args:
        tables: the data set.
        part: name of the part.
        table: of evidence or embeddings.
        removed: sources whose clips need none.
    """
    if tables.has_part(table, part) and tables.same_ids(part, "clips", table):
        return set()
    clips = tables.read("clips", ["id", "source"], parts=[part])
    missing = set(clips.filter(_none_of(clips["source"], removed))["id"].to_pylist())
    if not tables.has_part(table, part):
        return missing
    missing -= set(tables.read(table, ["id"], parts=[part])["id"].to_pylist())
    failures = failures_part(part, table)
    if missing and tables.has_part("quarantine", failures):
        rows = tables.read("quarantine", ["clip_id"], parts=[failures])
        missing -= set(rows["clip_id"].to_pylist())
    return missing


def failures_part(part: str, table: str) -> str:
    """The part of the quarantine for failures of measuring `table` on a part of the clips."""
    return f"{part}-{table.partition('/')[2]}"


def quarantine_row(source: str, failure: Failure, clip: str = "") -> dict[str, Any]:
    """A row of the quarantine table; `clip` is "" where the whole file failed."""
    return {
        "source": public_uri(source), "clip_id": clip, "stage": failure.stage,
        "kind": failure.kind, "error": redact(failure.message),
    }  # fmt: skip


def forget_failures(
    tables: Tables, kinds: Collection[str], parts: Collection[str] | None = None
) -> int:
    """Drop failures from the quarantine, so that files and clips are tried again.

    Args:
        tables: the data set.
        kinds: of the failures.
        parts: only these parts of the clips table; None: all.

    Returns:
        The number of files and clips.
    """
    count = 0
    for name in tables.parts("quarantine"):
        if name == LISTING or (parts is not None and _clips_part(name) not in parts):
            continue
        rows = tables.read("quarantine", parts=[name])
        failed = rows.filter(_pc.is_in(rows["kind"], value_set=pa.array(list(kinds), pa.string())))
        if not failed.num_rows:
            continue
        if _is_of_files(name):
            sources = set(failed["source"].to_pylist())
            forget_sources(tables, {name: sources})
            count += len(sources)
        else:
            _keep_rows(tables, name, rows, "kind", set(kinds))
            count += failed.num_rows
    return count


def forget_sources(tables: Tables, by_part: Mapping[str, Collection[str]]) -> None:
    """Drop the clips and failures of sources, so that they are scanned again.

    Evidence stays: a file that was only touched gives the same clips again.

    Args:
        tables: the data set.
        by_part: part -> sources.
    """
    for part, sources in by_part.items():
        if tables.has_part("clips", part):
            rows = tables.read("clips", parts=[part])
            kept = rows.filter(_none_of(rows["source"], sources))
            if kept.num_rows < rows.num_rows:
                tables.write_part("clips", part, kept)
        for name in tables.parts("quarantine"):
            if name == part or name.startswith(f"{part}-"):
                rows = tables.read("quarantine", parts=[name])
                _keep_rows(tables, name, rows, "source", sources)


def align_evidence(tables: Tables, part: str, ids: Sequence[str]) -> None:
    """Bring evidence and failures of a part into line with its clips before they are written.

    Rows of clips that are gone are dropped, and the others brought into the order of the clips,
    which is how they are read together.

    Args:
        tables: the data set.
        part: name of the part.
        ids: of its clips, in order.
    """
    for table in [*tables.tables("evidence"), *tables.tables("embeddings")]:
        if not tables.has_part(table, part):
            continue
        have = {name: row for row, name in enumerate(_ids(tables, table, part))}
        wanted = [name for name in ids if name in have]
        if wanted != list(have):
            rows = tables.read(table, parts=[part])
            tables.write_part(
                table, part, rows.take(_rows(have[name] for name in wanted)), schema=rows.schema
            )
    gone = set(ids)
    for name in tables.parts("quarantine"):
        if name.startswith(f"{part}-"):
            rows = tables.read("quarantine", parts=[name])
            stale = set(rows["clip_id"].to_pylist()) - gone
            _keep_rows(tables, name, rows, "clip_id", stale)


def merge_rows(old: pa.Table, new: pa.Table, ids: Sequence[str], column: str = "id") -> pa.Table:
    """Rows of a part that was measured in several runs, in the order of its clips.

    Args:
        old: rows of earlier runs.
        new: rows of this run, which replace older ones of the same clips.
        ids: of the clips, in order.
        column: the one that holds the id.
    """
    known = new[column].to_pylist()
    rows = pa.concat_tables([old.filter(_none_of(old[column], set(known))), new.cast(old.schema)])
    place = {name: number for number, name in enumerate(ids)}
    names = rows[column].to_pylist()
    order = sorted(
        (row for row, name in enumerate(names) if name in place), key=lambda row: place[names[row]]
    )
    return rows.take(_rows(order))


def _keep_rows(
    tables: Tables, part: str, rows: pa.Table, column: str, dropped: Collection[str]
) -> None:
    """Rewrite a part of the quarantine without some rows, if it holds any of them."""
    kept = rows.filter(_none_of(rows[column], dropped))
    if kept.num_rows == rows.num_rows:
        return
    if kept.num_rows or _is_of_files(part):
        tables.write_part("quarantine", part, kept)
    else:
        tables.remove_part("quarantine", part)


def _clips_part(part: str) -> str:
    """The part of the clips table that a part of the quarantine belongs to."""
    return "-".join(part.split("-")[:2])


def _is_of_files(part: str) -> bool:
    """Whether a part of the quarantine holds failures of splitting, not of a filter."""
    return part.count("-") == 1


def _ids(tables: Tables, table: str, part: str) -> list[str]:
    return tables.read(table, ["id"], parts=[part])["id"].to_pylist()


def _rows(numbers: Iterable[int]) -> pa.Array:
    return pa.array(list(numbers), pa.int64())


def _none_of(column: pa.ChunkedArray, values: Collection[str]) -> Any:
    return _pc.invert(_pc.is_in(column, value_set=pa.array(list(values), pa.string())))
