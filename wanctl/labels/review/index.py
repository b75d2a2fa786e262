"""An index of all captions under review in a temporary SQLite file, so that memory stays bounded.

It is built anew at every start, from the tables of the data set. 100,000 clips with 20 captions
each are two million rows.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanctl.data.captions import REVIEW, Decision
from wanctl.data.dataset import DatasetDir
from wanctl.data.sidecars.texts import clean
from wanctl.data.table_order import name_of, tables_newest_first
from wanctl.log import Bar
from wanctl.video.frames import trimmed

STRUCTURE = "structure"
"""Variant of the flags of a clip's structure, which is no caption."""

_SCHEMA = """
CREATE TABLE clips(n INTEGER PRIMARY KEY, id TEXT UNIQUE, part TEXT, source TEXT, start_s REAL,
    end_s REAL, labels TEXT,
    structure TEXT, model TEXT);
CREATE TABLE captions(n INTEGER, variant TEXT, backend TEXT, text TEXT, checks TEXT,
    attempts INTEGER);
CREATE TABLE decisions(n INTEGER, variant TEXT, text TEXT, backend TEXT, PRIMARY KEY(n, variant));
"""
# Made after the rows, which is three times as fast as keeping them while rows come in.
_INDEXES = """
CREATE INDEX captions_n ON captions(n);
CREATE INDEX flags ON captions(n, variant) WHERE checks <> '';
"""


@dataclass(frozen=True)
class KeptClip:
    """What a selection says of a clip.

    Attributes:
        labels: by filter, as JSON.
        span: its columns SPAN; empty where all of it is kept.
    """

    labels: str = "{}"
    span: Mapping[str, float] = field(default_factory=dict)


class ClipIndex:
    """Clips, captions, flags and decisions. Safe for several threads.

    Args:
        path: of the SQLite file, which is made anew.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(path, check_same_thread=False)
        # a file of one process that is made anew at every start needs no crash safety
        self._base.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._lock:
            return self._base.execute(sql, values).fetchall()

    def number(self, clip: str) -> int | None:
        """Number of a clip in the order of the data set; None where it is not under review."""
        rows = self.rows("SELECT n FROM clips WHERE id = ?", (clip,))
        return rows[0][0] if rows else None

    def decide(self, number: int, variant: str, decision: Decision | None) -> None:
        """Record a decision; None removes it."""
        with self._lock, self._base:
            if decision is None:
                self._base.execute(
                    "DELETE FROM decisions WHERE n = ? AND variant = ?", (number, variant)
                )
            else:
                self._base.execute(
                    "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?)",
                    (number, variant, decision.text, decision.backend),
                )

    def build(
        self,
        dataset: DatasetDir,
        kept: Mapping[str, KeptClip] | None,
        decisions: Mapping[str, Mapping[str, Decision]],
        bar: Bar,
    ) -> None:
        """Fill the index; clips without captions and flags are left out.

        Args:
            dataset: the data set.
            kept: the clips of the selection; None: all clips.
            decisions: clip -> variant -> decision.
            bar: advanced by one for every part of every table.
        """
        numbers = self._add_clips(dataset, kept)
        for key in _keys(dataset):
            # flags of older settings say nothing of the captions that newer ones wrote
            captioned, known = self._known(name_of(f"/{key}"))
            self._add_rows(dataset, f"captions/{key}", _CAPTION_COLUMNS, numbers, captioned, bar)
            self._add_rows(dataset, f"caption_flags/{key}", _FLAG_COLUMNS, numbers, known, bar)
        self._add_structures(dataset, numbers, bar)
        with self._lock, self._base:
            self._base.executescript(_INDEXES)
            self._base.execute(_WITHOUT_CAPTION)
            self._base.execute("DELETE FROM clips WHERE n NOT IN (SELECT n FROM captions)")
            self._base.executemany(
                "INSERT INTO decisions VALUES (?, ?, ?, ?)",
                ((numbers[clip], variant, each.text, each.backend)
                 for clip, several in decisions.items() if clip in numbers
                 for variant, each in several.items()),
            )  # fmt: skip

    def _add_clips(
        self, dataset: DatasetDir, kept: Mapping[str, KeptClip] | None
    ) -> dict[str, int]:
        """Add the clips; clip -> its number."""
        numbers: dict[str, int] = {}
        for part, table in dataset.clips_by_part(_CLIP_COLUMNS):
            rows = []
            for row in table.to_pylist():
                if kept is None or row["id"] in kept:
                    numbers[row["id"]] = len(numbers)
                    mine = KeptClip() if kept is None else kept[row["id"]]
                    row, labels = trimmed({**row, **mine.span}), mine.labels
                    times = (row["start_s"], row["end_s"])
                    rows.append(
                        (numbers[row["id"]], row["id"], part, row["source"], *times, labels)
                    )
            self._insert("clips(n, id, part, source, start_s, end_s, labels)", 7, rows)
        return numbers

    def _known(self, backend: str) -> tuple[set[int], set[int]]:
        """Clips that have captions of a captioner, and those that have captions or flags."""
        sql = "SELECT DISTINCT n FROM captions WHERE backend = ?"
        captioned = {n for (n,) in self.rows(f"{sql} AND checks = ''", (backend,))}
        return captioned, {n for (n,) in self.rows(sql, (backend,))}

    def _add_rows(
        self,
        dataset: DatasetDir,
        table: str,
        columns: Sequence[str],
        numbers: Mapping[str, int],
        known: Collection[int],
        bar: Bar,
    ) -> None:
        """Add captions or flags of all clips but those in `known`."""
        backend, flags = name_of(table), table.startswith("caption_flags/")
        for part in dataset.parts(table):
            rows = dataset.read(table, columns, parts=[part]).to_pylist()
            self._insert("captions", 6, (
                (number, row["variant"] or "default", backend, clean(row["text"] or ""),
                 "\n".join(row.get("checks") or ["flagged"] * flags), row.get("attempts"))
                for row in rows
                if (number := numbers.get(row["id"])) is not None and number not in known
                and (flags or clean(row["text"] or ""))
            ))  # fmt: skip
            bar.advance(1, backend)

    def _add_structures(self, dataset: DatasetDir, numbers: Mapping[str, int], bar: Bar) -> None:
        for table in reversed(tables_newest_first(dataset, "structures")):
            for part in dataset.parts(table):
                rows = dataset.read(table, ["id", "structure", "model"], parts=[part]).to_pylist()
                with self._lock, self._base:
                    self._base.executemany(
                        "UPDATE clips SET structure = ?, model = ? WHERE n = ?",
                        ((row["structure"], row["model"], numbers[row["id"]])
                         for row in rows if row["id"] in numbers),
                    )  # fmt: skip
                bar.advance(1, "structures")

    def _insert(self, table: str, width: int, rows: Collection[Any] | Iterator[Any]) -> None:
        with self._lock, self._base:
            self._base.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", rows)


# a clip whose structure failed its checks has an empty caption, which people can write
_WITHOUT_CAPTION = f"""
INSERT INTO captions SELECT n, 'default', backend, '', checks, attempts FROM captions
WHERE variant = '{STRUCTURE}' AND n NOT IN (SELECT n FROM captions WHERE variant <> '{STRUCTURE}')
"""
_CLIP_COLUMNS = ("id", "source", "start_s", "end_s", "start_pts", "end_pts", "num_frames")
_CAPTION_COLUMNS = ("id", "variant", "text")
_FLAG_COLUMNS = ("id", "variant", "text", "checks", "attempts")


def _keys(dataset: DatasetDir) -> list[str]:
    """`NAME@KEY` of all tables of captions and flags but those of people, the newest first."""
    kinds = ("captions", "caption_flags")
    tables = [table for kind in kinds for table in tables_newest_first(dataset, kind)]
    keys = dict.fromkeys(table.partition("/")[2] for table in tables if name_of(table) != REVIEW)
    return list(keys)


def count_parts(dataset: DatasetDir) -> int:
    """Number of part files that `ClipIndex.build` reads."""
    kinds = ("captions", "caption_flags", "structures")
    tables = [table for kind in kinds for table in dataset.tables(kind)]
    return sum(len(dataset.parts(table)) for table in tables if name_of(table) != REVIEW)
