"""What filters draw over the pictures of the shown clips, and the crops that they propose.

Filters decide these clips once more, as drawings depend on the crops of earlier filters, and marks
on all clips of a source. Only the parts of the data set that hold them are read, one at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.api import Drawing, Filter
from wanctl.curate.columns import Verdicts
from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.decisions import Decisions
from wanctl.curate.select.evidence import measure_failures, missing_parts, read_evidence
from wanctl.data.dataset import DatasetDir
from wanctl.report.decided_clips import DecidedClips, indices

_pc: Any = pc  # its functions are unknown to type checkers

MAX_DRAWINGS = 40
"""Drawings per clip and filter."""
# Deciding takes about 2 ms per clip. Sources are taken as a whole up to this many clips, smallest
# first; of the others, only the shown clips are decided, without the filters of scope "source".
MAX_DECIDED = 2000
_SAME_SHARE = 0.01  # of the width, by which the corners of one outline differ between samples
_GAP_S = 0.01


@dataclass(frozen=True)
class ClipDrawings:
    """Drawings over one clip.

    Attributes:
        found: what filters found, in the order of the filters.
        crops: (filter, x, y, width, height) of each filter that crops, in display pixels.
    """

    found: list[Drawing]
    crops: list[tuple[str, int, int, int, int]]


def read_drawings(
    dataset: DatasetDir,
    filters: Sequence[NamedFilter],
    decided: DecidedClips,
    rows: Sequence[int],
) -> dict[str, ClipDrawings]:
    """Clip id -> drawings, for those clips that have any.

    Args:
        dataset: the data set.
        filters: the recipe's filters, in order.
        decided: all clips with their verdicts.
        rows: the clips that are shown.
    """
    shown = np.array(sorted(rows), dtype=np.int64)
    whole, alone = _rows_to_decide(decided, shown)
    # a recipe that measures otherwise than the selection has no evidence to draw
    measured = {named.name for named in filters if not missing_parts(dataset, named)}
    drawings: dict[str, ClipDrawings] = {}
    for part, mine in _by_part(dataset, decided, np.concatenate([whole, alone])):
        for some, complete in ((np.intersect1d(mine, whole), True),
                               (np.intersect1d(mine, alone), False)):  # fmt: skip
            if len(some):
                drawer = _Drawer(dataset, filters, measured, decided, some, part)
                drawings |= drawer.draw(np.isin(some, shown), complete=complete)
    return drawings


class _Drawer:
    """Decides and draws some clips of one part."""

    def __init__(
        self,
        dataset: DatasetDir,
        filters: Sequence[NamedFilter],
        measured: set[str],
        decided: DecidedClips,
        rows: np.ndarray,
        part: str,
    ) -> None:
        self._measured = measured
        self._dataset, self._filters, self._part = dataset, filters, part
        self._decided, self._rows = decided, rows
        self._decisions = Decisions.begin(decided.clips.take(indices(rows.tolist())), filters)
        self._failures = measure_failures(dataset)

    def draw(self, shown: np.ndarray, *, complete: bool) -> dict[str, ClipDrawings]:
        """Drawings of the clips.

        Args:
            shown: (N,) bool, which of the clips are wanted.
            complete: all clips of their sources are among the clips.
        """
        cropped = bool(self._decided.cropped()[self._rows].any())
        ids = self._decisions.clips["id"].to_pylist()
        result = {ids[row]: ClipDrawings([], []) for row in np.flatnonzero(shown).tolist()}
        for named in self._filters:
            sure = named.filter.scope == "clip" or (complete and named.filter.scope == "source")
            draws = type(named.filter).drawings is not Filter.drawings
            # filters on embeddings do not crop; deciding them would read the largest tables
            decides = cropped and not named.filter.embedder()
            sure = sure and named.name in self._measured
            if not sure or not (decides or draws):
                self._decisions.add(named.name, self._stored(named.name))
                continue
            stored = read_evidence(
                self._dataset, named, self._decisions.clips["id"], [self._part], self._filters
            )
            if draws:
                measured = range(len(ids)) if stored.rows is None else stored.rows.tolist()
                found = named.filter.drawings(self._decisions.batch(stored))
                for row, several in zip(measured, found, strict=True):
                    if ids[row] in result:
                        width = self._decisions.clips["width"][row].as_py()
                        result[ids[row]].found.extend(_merged(several, width)[:MAX_DRAWINGS])
            verdicts = self._stored(named.name)
            if decides:
                verdicts = self._decisions.decide(named, stored, self._failures, with_reasons=False)
            for row, name in enumerate(ids):
                if verdicts.crops is not None and verdicts.crops[row, 2] and name in result:
                    result[name].crops.append((named.name, *verdicts.crops[row].tolist()))
            self._decisions.add(named.name, verdicts)
        return {name: each for name, each in result.items() if each.found or each.crops}

    def _stored(self, name: str) -> Verdicts:
        """The verdicts of a filter as the selection has them, without crops and reasons."""
        column = self._decided.column(name)
        labels = self._decided.labels.get(name)
        label = None
        if labels is not None:
            names = np.array([*labels.names, None], dtype=object)
            label = names[labels.codes[self._rows]]
        return Verdicts(
            keep=~self._decided.dropped[self._rows, column],
            why=lambda _: "",
            score=self._decided.scores[self._rows, column],
            label=label,
        )


def _merged(drawings: Sequence[Drawing], width: int) -> list[Drawing]:
    """Drawings in which an outline that stays for several spans is one drawing."""
    merged: list[Drawing] = []
    for each in sorted(drawings, key=lambda drawing: drawing.span or (0.0, 0.0)):
        for place, earlier in enumerate(merged):
            if _continues(earlier, each, _SAME_SHARE * width):
                assert earlier.span is not None
                assert each.span is not None
                merged[place] = replace(earlier, span=(earlier.span[0], each.span[1]))
                break
        else:
            merged.append(each)
    return merged


def _continues(earlier: Drawing, later: Drawing, tolerance_px: float) -> bool:
    if earlier.span is None or later.span is None or later.span[0] - earlier.span[1] > _GAP_S:
        return False
    if (earlier.kind, earlier.label, len(earlier.polygon)) != (
        later.kind, later.label, len(later.polygon)
    ):  # fmt: skip
        return False
    pairs = zip(earlier.polygon, later.polygon, strict=True)
    return all(abs(one - other) <= tolerance_px for one, other in pairs)


def _rows_to_decide(decided: DecidedClips, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the sources that are decided as a whole, shown rows of the other sources)."""
    coded = decided.clips["source"].combine_chunks()
    if isinstance(coded, pa.ChunkedArray):
        coded = pa.concat_arrays(coded.chunks or [pa.array([], coded.type)])
    codes = coded.dictionary_encode().indices.to_numpy()
    sizes = np.bincount(codes)
    mine = np.unique(codes[shown])
    mine = mine[np.argsort(sizes[mine], kind="stable")]
    whole = np.zeros(len(sizes) + 1, dtype=bool)
    whole[mine[np.cumsum(sizes[mine]) <= MAX_DECIDED]] = True
    return np.flatnonzero(whole[codes]), shown[~whole[codes[shown]]]


def _by_part(
    dataset: DatasetDir, decided: DecidedClips, rows: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """(part, those of the rows that are in it), each row once."""
    rows = np.sort(rows)
    left = decided.clips["id"].take(indices(rows.tolist())).combine_chunks()
    for part in dataset.parts("clips"):
        if not len(rows):
            return
        ids = dataset.read("clips", ["id"], parts=[part])["id"].combine_chunks()
        here = _pc.is_in(left, value_set=ids).to_numpy(zero_copy_only=False)
        if here.any():
            yield part, rows[here]
            rows, left = rows[~here], left.filter(pa.array(~here))
