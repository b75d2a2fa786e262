"""The tables of the structured pass: what they lack of a part, and how results come into them.

`structures/vlm@KEY` holds a row per clip, `captions/vlm@KEY` one per clip and variant,
`caption_flags/vlm@KEY` one for each of these that failed its checks. Clips whose frames cannot be
decoded are in the quarantine.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from wanctl.caption.backends import VLM, caption_table
from wanctl.caption.pipeline.journal import read_journal
from wanctl.caption.structured.result import FAILED, STRUCTURE
from wanctl.data.accounting import failures_part
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import table_schema

ALL_FLAGS = "flagged"
"""Name under which all flags are asked again."""

# Journal records that are Python objects at the same time: some 30 MB.
_CHUNK = 1000

Rows = list[dict[str, Any]]
Touched = set[tuple[str, str]]


@dataclass(frozen=True)
class Missing:
    """What a clip lacks.

    Attributes:
        has_structure: an earlier run stored one.
        variants: of captions.
    """

    has_structure: bool
    variants: tuple[str, ...]


class ModelTables:
    """The tables of one captioner's settings.

    Args:
        dataset: opened for writing.
        key: of captions and flags.
        structure_key: of structures.
        model: name of the model that makes structures.

    Raises:
        CaptionError: a key cannot be part of a folder's name.
    """

    def __init__(self, dataset: DatasetDir, key: str, structure_key: str, model: str) -> None:
        self.dataset = dataset
        self.captions = caption_table(VLM, key)
        self.flags = f"caption_flags/{VLM}@{key}"
        self.structures = f"structures/{VLM}@{structure_key}"
        self._model = model

    @property
    def names(self) -> list[str]:
        """Of all three."""
        return [self.structures, self.captions, self.flags]

    def journal(self, part: str) -> Path:
        """The journal of a part, beside its captions."""
        return self.dataset.path / self.captions / f"{part}.jsonl"

    def structure_rows(self, part: str) -> pa.Table:
        """Columns `id` and `structure` of a part."""
        return self._read(self.structures, part, ["id", "structure"])

    def forget_flags(self, part: str, checks: Collection[str]) -> int:
        """Drop flags so that these captions are asked for again; returns their number.

        Args:
            part: of the clips table.
            checks: names of checks; ALL_FLAGS stands for all.
        """
        if not self.dataset.has_part(self.flags, part):
            return 0
        rows = self._read(self.flags, part)
        kept = [
            ALL_FLAGS not in checks
            and not any(each.partition(":")[0] in checks for each in reasons)
            for reasons in rows["checks"].to_pylist()
        ]
        if not all(kept):
            self.dataset.write_part(self.flags, part, rows.filter(pa.array(kept, pa.bool_())))
        return len(kept) - sum(kept)

    def forget_other_spans(self, part: str, spans: Mapping[str, str | None]) -> int:
        """Drop what describes another span of a clip than is kept; returns the number of clips.

        Args:
            part: of the clips table.
            spans: clip -> its span as in CAPTIONS.
        """
        stale: set[str] = set()
        for table in (self.structures, self.captions, self.flags):
            rows = self._read(table, part)
            pairs = zip(rows["id"].to_pylist(), rows["span"].to_pylist(), strict=True)
            kept = [spans.get(name, span) == span for name, span in pairs]
            if not all(kept):
                names = rows["id"].to_pylist()
                stale |= {name for name, is_kept in zip(names, kept, strict=True) if not is_kept}
                self.dataset.write_part(table, part, rows.filter(pa.array(kept, pa.bool_())))
        return len(stale)

    def missing(
        self, part: str, ids: Sequence[str], variants: Callable[[str], tuple[str, ...]]
    ) -> dict[str, Missing]:
        """What the clips of a part lack; complete clips are not in the answer.

        A clip whose structure is flagged lacks nothing, nor does one in the quarantine.

        Args:
            part: of the clips table.
            ids: of the clips that are captioned.
            variants: clip -> names of the captions that it shall have.
        """
        structures = set(self._read(self.structures, part, ["id"])["id"].to_pylist())
        done: dict[str, set[str]] = {}
        for table in (self.captions, self.flags):
            for name, variant in _pairs(self._read(table, part, ["id", "variant"])):
                done.setdefault(name, set()).add(variant)
        failed = self._failed(part)
        missing = {}
        for name in ids:
            have = done.get(name, set())
            if name in failed or STRUCTURE in have:
                continue
            wanted = tuple(each for each in variants(name) if each not in have)
            if wanted or name not in structures:
                missing[name] = Missing(name in structures, wanted)
        return missing

    def captioned(self, part: str) -> set[str]:
        """Clips of a part that have a caption."""
        return set(self._read(self.captions, part, ["id"])["id"].to_pylist())

    def merge(self, part: str) -> None:
        """Bring the results of a part's journal into the tables; running it twice changes nothing.

        Raises:
            WriteError: the disk is full; the tables are those of before, or of after.
        """
        captions, flags, structures, failures = _Collected(), _Collected(), _Collected(), _Rows()
        touched: Touched = set()
        new: set[str] = set()
        records = read_journal(self.journal(part))
        while chunk := list(islice(records, _CHUNK)):
            for record in chunk:
                if "answer" in record:
                    continue
                if "failure" in record:
                    failures.rows.append(record["failure"])
                    continue
                name = record["id"]
                if record["structure"] is not None and record["attempts"]:
                    structures.rows.append(_structure_row(record, self._model))
                    new.add(name)
                    touched.add((name, STRUCTURE))
                for variant, text in record["captions"]:
                    touched.add((name, variant))
                    row = {"id": name, "text": text, "variant": variant, "backend": VLM}
                    captions.rows.append({**row, "span": record.get("span")})
                for flag in record["flags"]:
                    touched.add((name, flag["variant"]))
                    flags.rows.append({"id": name, **flag, "span": record.get("span")})
            captions.pack(self.captions)
            flags.pack(self.flags)
            structures.pack(self.structures)
        if failures.rows:
            self._merge_failures(part, failures.rows)
        self._replace(self.structures, part, structures, lambda row: row[0] in new)
        self._replace(self.captions, part, captions, lambda row: row in touched)
        self._replace(self.flags, part, flags, lambda row: row in touched)

    def _failed(self, part: str) -> set[str]:
        failures = failures_part(part, self.captions)
        if not self.dataset.has_part("quarantine", failures):
            return set()
        return set(self._read("quarantine", failures, ["clip_id"])["clip_id"].to_pylist())

    def _merge_failures(self, part: str, rows: Rows) -> None:
        failures = failures_part(part, self.captions)
        old = self._read("quarantine", failures).to_pylist()
        by_id = {row["clip_id"]: row for row in [*old, *rows]}
        self.dataset.write_part("quarantine", failures, [by_id[name] for name in sorted(by_id)])

    def _replace(
        self, table: str, part: str, new: "_Collected", is_old: Callable[[tuple[str, str]], bool]
    ) -> None:
        """Write a part without the rows that are replaced and with the new ones, sorted."""
        old = self._read(table, part)
        keys = _pairs(old)
        kept = [not is_old(key) for key in keys]
        if all(kept) and not new.tables:
            return
        old = old.filter(pa.array(kept, pa.bool_()))
        rows = pa.concat_tables([old.cast(new.schema(table)), *new.tables])
        order = ["id", "variant"] if "variant" in rows.column_names else ["id"]
        self.dataset.write_part(table, part, rows.sort_by([(name, "ascending") for name in order]))

    def _read(self, table: str, part: str, columns: Sequence[str] | None = None) -> pa.Table:
        parts = [part] if self.dataset.has_part(table, part) else []
        return self.dataset.read(table, columns, parts=parts)


class _Rows:
    def __init__(self) -> None:
        self.rows: Rows = []


class _Collected(_Rows):
    """Rows of one table, packed from time to time: as Python objects they take ten times more."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[pa.Table] = []

    def pack(self, table: str) -> None:
        if self.rows:
            self.tables.append(pa.Table.from_pylist(self.rows, schema=self.schema(table)))
            self.rows = []

    @staticmethod
    def schema(table: str) -> pa.Schema:
        schema = table_schema(table)
        assert schema is not None
        return schema


def _pairs(rows: pa.Table) -> Iterator[tuple[str, str]]:
    """(id, variant) of the rows of a table; a table without variants has STRUCTURE for all."""
    ids = rows["id"].to_pylist()
    has = "variant" in rows.column_names
    return zip(ids, rows["variant"].to_pylist() if has else [STRUCTURE] * len(ids), strict=True)


def _structure_row(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    names = ("id", "structure", "input_tokens", "output_tokens", "attempts")
    return {**{name: record[name] for name in names}, "model": model, "span": record.get("span")}


NOT_FINAL = (FAILED,)
"""Checks whose flags every run drops at its start: the model did not answer."""
