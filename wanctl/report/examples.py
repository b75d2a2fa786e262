"""The clips that the report shows: a few of each kind, so that the file stays small.

Examples are spread evenly over each list, and are the same in every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wanctl.report.decided_clips import DecidedClips, Labels

# A thumbnail takes about 20 kB, the metadata of a clip 0.8 kB: at most 8 MB and 1.2 MB.
MAX_THUMBNAILS = 300
MAX_RECORDS = 1500

# a wide window shows six in a row
KEPT_SIZE, DROPPED_SIZE, CROP_SIZE = 48, 18, 18
MANY_LABELS, MAX_LABELS = 8, 40
MAX_GROUPS, GROUP_SIZE = 16, 8
NEAREST_SIZE = 3


@dataclass(frozen=True)
class BoundExamples:
    """The clips on both sides of a bound that are closest to it, closest first, as row numbers."""

    bound: float
    kept: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class ClassExamples:
    """Some clips of one class as row numbers; `num_kept` of the `total` clips of it are kept."""

    name: str
    total: int
    num_kept: int
    rows: tuple[int, ...]


@dataclass
class Examples:
    """Rows of `DecidedClips` per section of the report.

    Attributes:
        kept: some of the kept clips.
        dropped: filter -> some of what it drops, by score.
        bounds: filter -> the clips nearest each finite bound.
        labels: filter -> its classes, largest first.
        groups: filter -> classes of a few clips each, as duplicates are; kept clips first.
        crops: some of the cropped clips, smallest crop first.
        thumbnails: rows that get a thumbnail, the most important first.
        records: rows whose metadata is in the file, in the order of the set.
    """

    kept: tuple[int, ...] = ()
    dropped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bounds: dict[str, list[BoundExamples]] = field(default_factory=dict)
    labels: dict[str, list[ClassExamples]] = field(default_factory=dict)
    groups: dict[str, list[ClassExamples]] = field(default_factory=dict)
    crops: tuple[int, ...] = ()
    thumbnails: tuple[int, ...] = ()
    records: tuple[int, ...] = ()

    def galleries(self) -> list[tuple[int, ...]]:
        """Every list of rows that one contact sheet shows."""
        nearest = [each for examples in self.bounds.values() for each in examples]
        sheets = [sheet for kind in (self.labels, self.groups) for sheets in kind.values()
                  for sheet in sheets]  # fmt: skip
        return [
            *(rows for each in nearest for rows in (each.kept, each.dropped)),
            *self.dropped.values(),
            *(sheet.rows for sheet in sheets),
            self.crops,
            self.kept,
        ]


def choose_examples(decided: DecidedClips, bounds: dict[str, tuple[float, ...]]) -> Examples:
    """Choose the clips of every section.

    Args:
        decided: all clips with their verdicts.
        bounds: filter -> scores at which its verdict flips.
    """
    examples = Examples(
        kept=spread_evenly(np.flatnonzero(decided.kept), KEPT_SIZE),
        dropped={name: _dropped(decided, name) for name in decided.names},
        bounds={
            name: [_nearest_bound(decided, name, bound) for bound in values if np.isfinite(bound)]
            for name, values in bounds.items()
        },
        crops=_crops(decided),
    )
    for name, labels in decided.labels.items():
        if _are_groups(decided, name, labels):
            examples.groups[name] = _groups(decided, labels)
        else:
            examples.labels[name] = _label_sheets(decided, labels)
    shown = _round_robin(examples.galleries(), MAX_THUMBNAILS)
    examples.thumbnails = (*shown, *_others(decided, shown, MAX_THUMBNAILS))
    more = _others(decided, examples.thumbnails, MAX_RECORDS)
    examples.records = tuple(sorted((*examples.thumbnails, *more)))
    return examples


def spread_evenly(rows: np.ndarray, size: int) -> tuple[int, ...]:
    """At most `size` of the rows, evenly over the whole list."""
    if len(rows) > size:
        rows = rows[np.arange(size) * len(rows) // size]
    return tuple(rows.tolist())


def _dropped(decided: DecidedClips, name: str) -> tuple[int, ...]:
    column = decided.column(name)
    rows = np.flatnonzero(decided.dropped[:, column])
    by_score = np.argsort(decided.scores[rows, column], kind="stable")
    return spread_evenly(rows[by_score], DROPPED_SIZE)


def _nearest_bound(decided: DecidedClips, name: str, bound: float) -> BoundExamples:
    column = decided.column(name)
    scores = decided.scores[:, column]
    known = np.isfinite(scores)
    sides = (known & ~decided.dropped[:, column], known & decided.dropped[:, column])
    kept, dropped = (_closest(scores, np.flatnonzero(side), bound) for side in sides)
    return BoundExamples(bound, kept, dropped)


def _closest(scores: np.ndarray, rows: np.ndarray, bound: float) -> tuple[int, ...]:
    distance = np.abs(scores[rows] - bound)
    if len(rows) > NEAREST_SIZE:
        nearest = np.argpartition(distance, NEAREST_SIZE - 1)
        # among equals, the first ones of the set
        rows = rows[distance <= distance[nearest[NEAREST_SIZE - 1]]]
        distance = np.abs(scores[rows] - bound)
    return tuple(rows[np.argsort(distance, kind="stable")][:NEAREST_SIZE].tolist())


def _crops(decided: DecidedClips) -> tuple[int, ...]:
    rows = np.flatnonzero(decided.cropped())
    return spread_evenly(rows[np.argsort(decided.crop_share()[rows], kind="stable")], CROP_SIZE)


def _are_groups(decided: DecidedClips, name: str, labels: Labels) -> bool:
    """Whether the classes are shown next to each other, as groups of duplicates are.

    That is so where the filter keeps one clip of each, or where there are many small classes.
    """
    sizes = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.names))
    passing = (labels.codes >= 0) & ~decided.dropped[:, decided.column(name)]
    left = np.bincount(labels.codes[passing], minlength=len(labels.names))
    several = sizes > 1
    one_each = bool(several.any()) and bool((left[several] == 1).all())
    return one_each or (len(sizes) > MAX_LABELS and sizes.mean() < GROUP_SIZE / 2)


def _label_sheets(decided: DecidedClips, labels: Labels) -> list[ClassExamples]:
    size = 12 if len(labels.names) <= MANY_LABELS else 6
    return [
        _sheet(decided, labels, code, spread_evenly(kept_first(decided, rows), size))
        for code, rows in _classes(labels)[:MAX_LABELS]
    ]


def _groups(decided: DecidedClips, labels: Labels) -> list[ClassExamples]:
    several = [(code, rows) for code, rows in _classes(labels) if len(rows) > 1]
    return [
        _sheet(decided, labels, code, tuple(kept_first(decided, rows)[:GROUP_SIZE].tolist()))
        for code, rows in several[:MAX_GROUPS]
    ]


def kept_first(decided: DecidedClips, rows: np.ndarray) -> np.ndarray:
    """Rows with kept ones before dropped ones, otherwise in their order."""
    return rows[np.argsort(~decided.kept[rows], kind="stable")]


def _sheet(
    decided: DecidedClips, labels: Labels, code: int, rows: tuple[int, ...]
) -> ClassExamples:
    mine = labels.codes == code
    return ClassExamples(
        labels.names[code], int(mine.sum()), int((mine & decided.kept).sum()), rows
    )


def _classes(labels: Labels) -> list[tuple[int, np.ndarray]]:
    """(code, rows) of every class, largest first."""
    order = np.argsort(labels.codes, kind="stable")
    starts = np.searchsorted(labels.codes[order], np.arange(len(labels.names) + 1))
    classes = [(code, order[starts[code] : starts[code + 1]]) for code in range(len(labels.names))]
    return sorted(classes, key=lambda each: (-len(each[1]), labels.names[each[0]]))


def _others(decided: DecidedClips, rows: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """Clips that are not among `rows`, which they fill up to `limit` in all."""
    return spread_evenly(np.setdiff1d(np.arange(len(decided)), rows), limit - len(rows))


def _round_robin(galleries: Sequence[tuple[int, ...]], limit: int) -> tuple[int, ...]:
    """The first row of each gallery, then the second of each, and so on, each row once."""
    chosen: dict[int, None] = {}
    for depth in range(max((len(rows) for rows in galleries), default=0)):
        for rows in galleries:
            if depth < len(rows) and len(chosen) < limit:
                chosen.setdefault(rows[depth])
    return tuple(chosen)
