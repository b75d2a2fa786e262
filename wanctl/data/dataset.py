"""The data set directory: its files, and how tables are read and written.

    DATASET/
      dataset.json                          format version, sources and their parts, recipe, order
                                            of tables (see table_order.py)
      clips/part-00000.parquet              one row per clip
      evidence/NAME@HASH/part-*.parquet     raw measurements
      captions/NAME@HASH/, embeddings/NAME@HASH/
      selections/NAME.parquet               verdicts
      quarantine/part-*.parquet             files and clips that could not be read, and why
      passed_over/                          files that are no footage, counted by their endings
      latents/, text/, conditions/, training/   caches and exports of training (cache.py, export.py)

A unit of work is done when its part file exists. Parts are written to a temporary file and renamed,
and equal rows give equal bytes, so that a run that was killed and started again ends with the same
files.
"""

import hashlib
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wanctl.atomic import remove_leftovers, write_error
from wanctl.data.accounting import forget_sources, unmeasured
from wanctl.data.copies import new_rows, shared_content
from wanctl.data.description import (
    CLEAN,
    REMOVED,
    DatasetError,
    changed_sources,
    identified,
    load,
    load_or_create,
    refuse_foreign,
    save,
    with_sources,
)
from wanctl.data.parts.cleaning import clean_dataset, clean_description, clean_rows
from wanctl.data.parts.part_files import check_ids, id_ranges, read_footer, read_rows
from wanctl.data.parts.rowgroups import write_rows
from wanctl.data.schemas import SELECTION, SELECTION_CODED, table_schema, with_new_columns
from wanctl.lock import lock_alone, lock_description, lock_shard
from wanctl.path_names import is_component
from wanctl.video.sources import SourceFile

Rows = pa.Table | Sequence[Mapping[str, Any]]


def clip_id(content_hash: str, start_pts: int, end_pts: int) -> str:
    """16 hex digits naming a span of a source by its content, not by its path."""
    return hashlib.sha256(f"{content_hash}:{start_pts}:{end_pts}".encode()).hexdigest()[:16]


class DatasetDir:
    """One data set directory, from `create_or_open` or `open`.

    Attributes:
        path: the directory.
        changed: sources that `assign_sources` found changed since they were recorded.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self.path = path
        self.changed: list[str] = []
        # a data set of an older version is cleaned when a command opens it for writing
        self._holds_credentials = not description.get(CLEAN)
        clean = dict if description.get(CLEAN) else clean_description
        self._description: dict[str, Any] = clean(description)

    @classmethod
    def create_or_open(
        cls, path: Path, *, recipe: str = "", share: tuple[int, int] | None = None
    ) -> "DatasetDir":
        """Open a data set for writing, making it first where there is none.

        The directory is locked against other processes for as long as the returned object lives.

        Args:
            path: the directory.
            recipe: the resolved recipe as YAML text; recorded in dataset.json.
            share: (index, count) of several processes that work here at once; None: one process.

        Raises:
            LockedError: another process writes there.
            DatasetError: the folder holds something else.
            WriteError: the folder cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        refuse_foreign(path)  # before files for locks are made there
        release = lock_shard(path, *share) if share else lock_alone(path)
        try:
            with lock_description(path):
                dataset = cls(path, clean_dataset(path, load_or_create(path, recipe)))
        except BaseException:
            release()
            raise
        weakref.finalize(dataset, release)
        remove_leftovers(path)
        return dataset

    @classmethod
    def open(cls, path: Path, *, lock: bool = False) -> "DatasetDir":
        """Open an existing data set.

        Args:
            path: the directory.
            lock: keep other writers out for as long as the returned object lives.

        Raises:
            DatasetError: there is no data set, or another process writes there (with `lock`).
        """
        if not (path / "dataset.json").exists():
            raise DatasetError(
                f"{path}: no data set there (no dataset.json); `wanctl curate FOLDER` makes one"
            )
        if lock:
            return cls.create_or_open(path)
        return cls(path, load(path))

    @property
    def recipe(self) -> str:
        """The resolved recipe that made this data set, as YAML text."""
        return self._description["recipe"] or ""

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Known source files: uri, size, mtime_ns, part; in the order they were added."""
        return list(self._description["sources"])

    @property
    def removed(self) -> set[str]:
        """Sources whose files are gone; their clips stay in the tables and do not count."""
        return {each["uri"] for each in self._description["sources"] if each.get(REMOVED)}

    def assign_sources(
        self, files: Sequence[SourceFile], per_part: int, removed: Collection[str] = ()
    ) -> list[tuple[str, list[str]]]:
        """Assign every source file to a part of `clips/` and record it in dataset.json.

        A known source keeps its part; new ones come in new parts. Clips and failures of a file that
        changed are dropped, so that it is scanned again. Processes that work here at once and
        list the same files get the same parts.

        Args:
            files: source files; their order decides the order of new ones.
            per_part: new sources per part.
            removed: known sources whose files are gone.

        Returns:
            (part name, all sources of that part) for the parts that `files` touch.
        """
        with lock_description(self.path):
            self._description = before = load(self.path)
            files = identified(before, files)
            self.changed = changed_sources(before, files)
            changed, parts = set(self.changed), self.source_parts()
            forget_sources(self, {part: changed & set(uris) for part, uris in parts if changed})
            self._description = with_sources(before, files, removed, per_part)
            if self._description != before:
                save(self.path, self._description)
        uris = {file.uri for file in files}
        return [each for each in self.source_parts() if not uris.isdisjoint(each[1])]

    def source_parts(self) -> list[tuple[str, list[str]]]:
        """(part name, its sources) for all parts."""
        parts: dict[str, list[str]] = {}
        for source in self._description["sources"]:
            parts.setdefault(source["part"], []).append(source["uri"])
        return sorted(parts.items())

    def clips(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every clip once, in the order of the parts.

        Parts do not depend on each other, so a file that was copied has its clips in each part that
        holds a copy; the first one counts.
        """
        return pa.concat_tables(
            [table for _, table in self.clips_by_part(columns)] or [self.read("clips", columns)]
        )

    def clips_by_part(self, columns: Sequence[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """Every clip once, part by part: (part, clips that no earlier part holds)."""
        for part, rows in self.first_rows():
            table = self.read("clips", columns, parts=[part])
            yield part, table if rows is None else table.take(rows)

    def copies(self) -> int:
        """How many rows of the clips table do not count: copies, and files that are gone."""
        return sum(
            self.count("clips", part) - len(rows)
            for part, rows in self.first_rows()
            if rows is not None
        )

    def first_rows(self) -> list[tuple[str, np.ndarray | None]]:
        """Per part, the rows whose clip no earlier row has; None stands for all rows.

        Clips of sources whose files are gone are left out.
        """
        parts, coded = self.parts("clips"), ["content_hash", "source"]
        removed = self.removed
        shared = shared_content(
            (part, self.read("clips", coded, parts=[part], coded=coded)) for part in parts
        )
        known: set[str] = set()
        rows: list[tuple[str, np.ndarray | None]] = []
        for part in parts:
            first = None
            if part in shared or removed:
                table = self.read("clips", ["id", "content_hash", "source"], parts=[part])
                first = new_rows(table, shared.get(part, set()), known, removed)
            rows.append((part, first))
        return rows

    def count(self, table: str, part: str) -> int:
        """Rows of a part, from its footer."""
        return read_footer(self._file(table, part)).num_rows

    def same_ids(self, part: str, *tables: str) -> bool:
        """Whether a part holds the same clips in the same order in several tables.

        The footers decide: as many rows, and the same first and last id by name, in every row
        group. All tables are written in the order of the clips, so that only clips which could
        not be measured make a difference.
        """
        return len({id_ranges(self._file(table, part)) for table in tables}) == 1

    def unmeasured(self, part: str, table: str) -> set[str]:
        """Clips of a part without a result in a table; those of files that are gone need none."""
        return unmeasured(self, part, table, self.removed)

    def parts(self, table: str) -> list[str]:
        """Names of the finished parts of a table, sorted."""
        if _single(table):
            return [""] if self._file(table, "").exists() else []
        return sorted(path.stem for path in (self.path / table).glob("part-*.parquet"))

    def has_part(self, table: str, part: str) -> bool:
        """Whether this unit of work is done."""
        return self._file(table, part).exists()

    def write_part(
        self, table: str, part: str, rows: Rows, *, schema: pa.Schema | None = None
    ) -> None:
        """Write a complete part, replacing an older one. Equal rows give equal bytes.

        Args:
            table: `clips`, `quarantine`, `evidence/NAME@HASH`, `captions/NAME@HASH`,
                `embeddings/NAME@HASH` or `selections/NAME`.
            part: `part-00000` ...; not used for selections, which are one file.
            rows: a table, or one mapping per row; missing keys become nulls.
            schema: columns of an evidence table (`schemas.evidence_schema`); the others have
                theirs.
        """
        arrow = _table(rows, table_schema(table) or schema).replace_schema_metadata(None)
        if table in ("clips", "quarantine"):
            arrow = clean_rows(arrow)  # the one place through which sources are stored
        write_rows(self._file(table, part), arrow.schema, [arrow])

    def write_selection(self, name: str, tables: Iterable[pa.Table]) -> int:
        """Write a complete selection from tables that come one after the other.

        Returns:
            The number of rows.
        """
        return write_rows(
            self._file(f"selections/{name}", ""), SELECTION, tables, coded=SELECTION_CODED
        )

    def remove_part(self, table: str, part: str) -> None:
        """Delete a part, where it exists."""
        self._file(table, part).unlink(missing_ok=True)

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        parts: Sequence[str] | None = None,
        coded: Sequence[str] = (),
    ) -> pa.Table:
        """All rows of a table, in the order of its parts; no rows where nothing is written yet.

        Args:
            table: name of the table.
            columns: only these.
            parts: only these parts.
            coded: text columns among them that are returned dictionary-encoded, which takes less
                memory where values repeat.

        Raises:
            DatasetError: a part is damaged; says which file to delete.
        """
        names = self.parts(table) if parts is None else parts
        tables = [read_rows(self._file(table, name), columns, coded) for name in names]
        if table == "clips":
            for name, rows in zip(names, tables, strict=True):
                check_ids(rows, self._file(table, name))
        if self._holds_credentials and table in ("clips", "quarantine"):
            tables = [clean_rows(rows) for rows in tables]
        if tables:
            return pa.concat_tables([with_new_columns(table, each, columns) for each in tables])
        schema = table_schema(table) or pa.schema({"id": pa.string()})
        empty = schema.empty_table()
        return empty.select(columns) if columns else empty

    def tables(self, kind: str) -> list[str]:
        """Names of the tables of a kind: `tables("evidence")` -> `["evidence/blur@1f2e3d4c"]`."""
        folder = self.path / kind
        if kind == "selections":
            return sorted(f"{kind}/{path.stem}" for path in folder.glob("[!.]*.parquet"))
        return sorted(f"{kind}/{path.name}" for path in folder.glob("*@*") if path.is_dir())

    def _file(self, table: str, part: str) -> Path:
        """The file of a part.

        Raises:
            DatasetError: a name in it would lead to another folder.
        """
        names = table.split("/")
        if len(names) > 2 or not all(map(is_component, [*names, *([part] if part else [])])):
            raise DatasetError(
                f"{self.path}: no table is named {table!r}, part {part!r}: a selection, captioner, "
                "filter or part has one name without / and .."
            )
        name = f"{table}.parquet" if _single(table) else f"{table}/{part}.parquet"
        return self.path / name


def _table(rows: Rows, schema: pa.Schema | None) -> pa.Table:
    if not isinstance(rows, pa.Table):
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    table: pa.Table = rows
    return table if schema is None else table.select(schema.names).cast(schema)


def _single(table: str) -> bool:
    return table.startswith("selections/")
