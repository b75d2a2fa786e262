"""Verdicts spilled to disk, so that memory holds one slice and not the data set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from wanctl.curate.columns import Verdicts
from wanctl.curate.select.decisions import Reasons, concat_verdicts
from wanctl.video.frames import SPAN

_CROP = ("crop_x", "crop_y", "crop_w", "crop_h")
_TEXTS = ("label", "span_reasons")


@dataclass(frozen=True)
class VerdictStore:
    """A folder with a file for each slice and filter."""

    folder: Path

    def put(self, number: int, name: str, verdicts: Verdicts) -> None:
        """Store a filter's verdicts on a slice, with their reasons written out."""
        columns: dict[str, pa.Array] = {"keep": pa.array(verdicts.keep)}
        for column in ("score", "weight"):
            if (values := getattr(verdicts, column)) is not None:
                columns[column] = pa.array(values)
        for column in _TEXTS:
            if (values := getattr(verdicts, column)) is not None:
                texts = pa.array(values, pa.string(), from_pandas=True)
                columns[column] = texts.dictionary_encode()
        if verdicts.crops is not None:
            columns |= dict(zip(_CROP, map(pa.array, verdicts.crops.T), strict=True))
        if verdicts.spans is not None:
            columns |= dict(zip(SPAN, map(pa.array, verdicts.spans.T), strict=True))
        why = verdicts.why
        assert isinstance(why, Reasons)
        reasons = pa.table({"row": why.rows, "text": why.texts})
        self._write(number, f"{name}.verdicts", pa.table(columns))
        self._write(number, f"{name}.reasons", reasons)

    def get(self, number: int, name: str) -> Verdicts:
        """A filter's verdicts on a slice."""
        reasons = self._read(number, f"{name}.reasons")
        why = Reasons(reasons["row"].to_numpy(), reasons["text"].combine_chunks())
        return self._verdicts(number, name, why)

    def get_all(self, numbers: Sequence[int], name: str) -> Verdicts:
        """A filter's verdicts on several slices, concatenated, without reasons."""
        return concat_verdicts([self._verdicts(number, name, _NO_REASONS) for number in numbers])

    def crops(self, number: int, name: str) -> np.ndarray | None:
        """(N, 4) int32, a filter's crops on a slice; None where it has none."""
        return self._verdicts(number, name, _NO_REASONS).crops

    def _verdicts(self, number: int, name: str, why: Reasons) -> Verdicts:
        table = self._read(number, f"{name}.verdicts")

        def numbers(column: str) -> np.ndarray | None:
            return table[column].to_numpy() if column in table.column_names else None

        def texts(column: str) -> np.ndarray | None:
            return _texts(table[column]) if column in table.column_names else None

        def several(names: Sequence[str]) -> np.ndarray | None:
            columns = [numbers(name) for name in names]
            return None if columns[0] is None else np.stack(columns, axis=1)  # type: ignore[arg-type]

        return Verdicts(
            keep=table["keep"].to_numpy(),
            why=why,
            score=numbers("score"),
            weight=numbers("weight"),
            crops=several(_CROP),
            label=texts("label"),
            spans=several(SPAN),
            span_reasons=texts("span_reasons"),
        )

    def _write(self, number: int, kind: str, table: pa.Table) -> None:
        with pa.ipc.new_file(str(self._file(number, kind)), table.schema) as file:
            file.write_table(table)

    def _read(self, number: int, kind: str) -> pa.Table:
        # read, not mapped: the folder may be on a network drive
        with self._file(number, kind).open("rb") as file:
            return pa.ipc.open_file(file).read_all()

    def _file(self, number: int, kind: str) -> Path:
        return self.folder / f"{number:05d}.{kind}.arrow"


class StoredVerdicts(Mapping[str, Verdicts]):
    """The verdicts of earlier filters on the whole data set, each read on access."""

    def __init__(self, store: VerdictStore, numbers: Sequence[int], names: Sequence[str]) -> None:
        self._store = store
        self._numbers = numbers
        self._names = names

    def __getitem__(self, name: str) -> Verdicts:
        if name not in self._names:
            raise KeyError(name)
        return self._store.get_all(self._numbers, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


_NO_REASONS = Reasons.of(np.zeros(0, dtype=np.int64), [])


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) object array of texts; equal texts share one string object."""
    coded = column.combine_chunks()
    coded = coded.unify_dictionaries().chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    texts = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    return texts[coded.indices.fill_null(len(texts) - 1).to_numpy()]
