"""Kinds of reasons: texts that differ in their numbers only, with counts over the whole set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_pc: Any = pc  # its functions are unknown to type checkers

MAX_KINDS = 80
"""Kinds that the page lists; others are found by the search field."""

# Numbers and ids become an ellipsis, and a list of boxes becomes one box.
_VARYING = r"\b[0-9a-f]{12,}\b|\d+([.,:]\d+)*"
_BOXES = r"(\((?:…, )+…\)), \((?:…, )+…\)(?:, \((?:…, )+…\))*"


@dataclass(frozen=True)
class ReasonKind:
    """Reasons of one filter that differ in numbers only.

    Attributes:
        filter_name: the filter.
        text: with an ellipsis for each number.
        example: one of them with its numbers.
        count: clips in the whole set.
    """

    filter_name: str
    text: str
    example: str
    count: int


@dataclass(frozen=True)
class ReasonKinds:
    """The kinds of reasons in a selection.

    Attributes:
        kinds: most frequent first; MAX_KINDS at most.
        codes: index into `kinds` of every reason of the selection, one after the other; -1: others.
        starts: (N + 1,) where the reasons of each row start.
    """

    kinds: list[ReasonKind]
    codes: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, reasons: pa.ChunkedArray) -> "ReasonKinds":
        """Sort the column `reasons` of a selection into kinds."""
        lengths = _pc.fill_null(_pc.list_value_length(reasons), 0).to_numpy()
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        texts = _pc.list_flatten(reasons).combine_chunks()
        if isinstance(texts, pa.ChunkedArray):
            texts = pa.concat_arrays(texts.chunks or [pa.array([], pa.string())])
        varied = _pc.replace_substring_regex(texts, pattern=_VARYING, replacement="…")
        encoded = _pc.replace_substring_regex(
            varied, pattern=_BOXES, replacement=r"\1"
        ).dictionary_encode()
        codes = encoded.indices.to_numpy()
        counts = np.bincount(codes, minlength=len(encoded.dictionary))
        order = np.argsort(-counts, kind="stable")[:MAX_KINDS]
        place = np.full(len(counts) + 1, -1)
        place[order] = np.arange(len(order))
        kinds = [
            ReasonKind(
                *encoded.dictionary[code].as_py().partition(": ")[::2],
                example=texts[int(np.argmax(codes == code))].as_py().partition(": ")[2],
                count=int(counts[code]),
            )
            for code in order.tolist()
        ]
        return cls(kinds, place[codes], starts)

    def of_row(self, row: int) -> list[int]:
        """Index into `kinds` of each reason of a row; -1 for others."""
        return self.codes[self.starts[row] : self.starts[row + 1]].tolist()

    def of_filter(self, name: str) -> list[ReasonKind]:
        """The kinds of one filter, most frequent first."""
        return [kind for kind in self.kinds if kind.filter_name == name]
