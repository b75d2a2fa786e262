"""The clips table joined with a selection, as columns that all sections of the report read.

A data set may hold millions of clips; only the few that are shown become Python objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.select.overrides import OVERRIDE
from wanctl.curate.select.selection_rows import CROP
from wanctl.video.frames import SPAN

# The functions that pyarrow.compute makes when it is imported are unknown to type checkers.
_pc: Any = pc


@dataclass(frozen=True)
class Labels:
    """The classes that one filter sorts clips into.

    Attributes:
        names: the classes.
        codes: (N,) index into `names`; -1 where a clip has no label.
    """

    names: tuple[str, ...]
    codes: np.ndarray


@dataclass(frozen=True)
class DecidedClips:
    """All clips of a data set with their verdicts; row i of every column is the same clip.

    Attributes:
        clips: the clips table.
        selection: the selection's rows in the order of `clips`.
        names: the recipe's filters in order, then all other names that dropped a clip.
        kept: (N,) bool.
        dropped: (N, F) bool, whether each of `names` drops the clip.
        first: (N,) index into `names` of the first reason, -1 where the clip is kept. People keep
            some clips that filters drop.
        scores: (N, F) float64, NaN where there is none.
        labels: filter -> its labels.
    """

    clips: pa.Table
    selection: pa.Table
    names: tuple[str, ...]
    kept: np.ndarray
    dropped: np.ndarray
    first: np.ndarray
    scores: np.ndarray
    labels: dict[str, Labels]

    @classmethod
    def of(cls, clips: pa.Table, selection: pa.Table, filters: Sequence[str]) -> "DecidedClips":
        """Join the two tables; a clip without a verdict is left out."""
        clips, selection = _joined(clips, selection)
        rows, filter_of_reason = _reasons(selection)
        others = {*filter_of_reason.dictionary.to_pylist()} - {*filters}
        if selection["override"].null_count < len(selection):
            others.add(OVERRIDE)
        # as in the funnel: crops, then people
        others = sorted(others, key=lambda name: (name == OVERRIDE, name == CROP, name))
        names = (*filters, *others)
        dropped = np.zeros((clips.num_rows, len(names)), dtype=bool)
        dropped[rows, _columns(filter_of_reason, names)] = True
        kept = _array(selection["kept"]).to_numpy(zero_copy_only=False)
        return cls(
            clips=clips,
            selection=selection,
            names=names,
            kept=kept,
            dropped=dropped,
            first=np.where(kept, -1, _first(dropped)),
            scores=_scores(selection, names),
            labels={n: labels for n, labels in _labels(selection).items() if n in names},
        )

    def __len__(self) -> int:
        return self.clips.num_rows

    def column(self, name: str) -> int:
        """Index of a filter in `names`."""
        return self.names.index(name)

    def seconds(self) -> np.ndarray:
        """(N,) length of each clip in seconds."""
        return self.numbers("end_s") - self.numbers("start_s")

    def trimmed(self) -> np.ndarray:
        """(N,) bool, whether only a span of the clip is kept."""
        return np.isfinite(self.numbers(SPAN[0]))

    def span_seconds(self) -> np.ndarray:
        """(N,) length of the span that is kept of each clip, in seconds."""
        spans = self.numbers(SPAN[1]) - self.numbers(SPAN[0])
        return np.where(self.trimmed(), spans, self.seconds())

    def numbers(self, name: str) -> np.ndarray:
        """(N,) a column of numbers of either table."""
        table = self.clips if name in self.clips.column_names else self.selection
        return _array(table[name]).to_numpy(zero_copy_only=False)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Ids of some clips."""
        return self.clips["id"].take(indices(rows)).to_pylist()

    def cropped(self) -> np.ndarray:
        """(N,) bool, whether part of the frame is cropped away."""
        width, height = self.numbers("crop_w"), self.numbers("crop_h")
        return (width != self.numbers("width")) | (height != self.numbers("height"))

    def crop_share(self) -> np.ndarray:
        """(N,) the share of the frame's area that is left."""
        area = self.numbers("width").astype(np.float64) * self.numbers("height")
        return self.numbers("crop_w") * self.numbers("crop_h") / np.maximum(area, 1)


def indices(rows: Sequence[int]) -> pa.Array:
    """Row numbers as the int64 array that `pyarrow.Table.take` needs, also where it is empty."""
    return pa.array(rows, pa.int64())


def _joined(clips: pa.Table, selection: pa.Table) -> tuple[pa.Table, pa.Table]:
    if _array(clips["id"]).equals(_array(selection["id"])):
        return clips, selection
    position = _pc.index_in(_array(clips["id"]), value_set=_array(selection["id"]))
    known = _pc.is_valid(position)
    return clips.filter(known), selection.take(position.filter(known))


def _reasons(selection: pa.Table) -> tuple[np.ndarray, Any]:
    """(row, filter) of every reason; the filters dictionary-encoded."""
    lists = _array(selection["reasons"])
    # a reason is "filter: text"
    parts = _pc.extract_regex(lists.flatten(), pattern=r"(?s)^(?P<filter>[^:]*)")
    return _rows(lists), parts.field("filter").dictionary_encode()


def _first(dropped: np.ndarray) -> np.ndarray:
    if not dropped.shape[1]:
        return np.full(len(dropped), -1)
    return np.where(dropped.any(axis=1), dropped.argmax(axis=1), -1)


def _scores(selection: pa.Table, names: Sequence[str]) -> np.ndarray:
    lists = _array(selection["scores"])
    pairs = lists.flatten()
    scores = np.full((selection.num_rows, len(names)), np.nan)
    column = _columns(pairs.field("filter").dictionary_encode(), names)
    known = column >= 0
    values = pairs.field("score").to_numpy(zero_copy_only=False)
    scores[_rows(lists)[known], column[known]] = values[known]
    return scores


def _labels(selection: pa.Table) -> dict[str, Labels]:
    if "labels" not in selection.column_names:
        return {}
    lists = _array(selection["labels"])
    pairs, rows = lists.flatten(), _rows(lists)
    names = pairs.field("filter").dictionary_encode()
    labels = {}
    for code, name in enumerate(names.dictionary.to_pylist()):
        mine = names.indices.to_numpy() == code
        values = pairs.field("label").filter(pa.array(mine)).dictionary_encode()
        codes = np.full(selection.num_rows, -1)
        codes[rows[mine]] = values.indices.to_numpy()
        labels[name] = Labels(tuple(values.dictionary.to_pylist()), codes)
    return labels


def _columns(encoded: Any, names: Sequence[str]) -> np.ndarray:
    """Index into `names` of every value; -1 for one that is not among them."""
    index_of = {name: index for index, name in enumerate(names)}
    table = np.array([index_of.get(name, -1) for name in encoded.dictionary.to_pylist()], dtype=int)
    codes = encoded.indices.to_numpy()
    return table[codes] if len(codes) else np.zeros(0, dtype=int)


def _rows(lists: Any) -> np.ndarray:
    """The row that each value of a column of lists is in."""
    return _pc.list_parent_indices(lists).to_numpy()


def _array(column: pa.ChunkedArray) -> Any:
    """One array of a column, as pyarrow 26 combines the chunks of none to a chunked array."""
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        return pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], joined.type)
    return joined
