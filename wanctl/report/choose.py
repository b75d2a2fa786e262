"""Which clips the report shows: a few of each kind, so that the file stays small.

Every choice is even over its list and the same each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wanctl.report.outcome import Labels, Outcome

# A picture is about 20 kB, a clip's facts are about 0.8 kB: some 8 MB and 1.2 MB at most.
MAX_PICTURES = 300
MAX_RECORDS = 1500

# six stand in a row of a wide window
KEPT_SIZE, DROPPED_SIZE, CROP_SIZE = 48, 18, 18
MANY_LABELS, MAX_LABELS = 8, 40
MAX_GROUPS, GROUP_SIZE = 16, 8
NEAREST_SIZE = 3


@dataclass(frozen=True)
class Boundary:
    """The clips on both sides of a bound that are closest to it, closest first."""

    bound: float
    kept: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class LabelSheet:
    """Clips of one class. `total` of them are in the whole set, `num_kept` of those are kept."""

    name: str
    total: int
    num_kept: int
    rows: tuple[int, ...]


@dataclass
class Choice:
    """Rows of the outcome, per place in the report.

    Attributes:
        kept: some of the kept clips.
        dropped: filter -> some of what it drops, by score.
        boundaries: filter -> one per finite bound.
        labels: filter -> its classes, largest first; for filters that sort.
        groups: filter -> classes of a few clips each, as duplicates are; kept clips first.
        crops: some of the clips of which a part is cut away, smallest rest first.
        pictures: rows that get a picture, the most important first.
        records: rows whose facts are in the file, in the set's order.
    """

    kept: tuple[int, ...] = ()
    dropped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    boundaries: dict[str, list[Boundary]] = field(default_factory=dict)
    labels: dict[str, list[LabelSheet]] = field(default_factory=dict)
    groups: dict[str, list[LabelSheet]] = field(default_factory=dict)
    crops: tuple[int, ...] = ()
    pictures: tuple[int, ...] = ()
    records: tuple[int, ...] = ()

    def galleries(self) -> list[tuple[int, ...]]:
        """Every list of rows above."""
        boundaries = [each for bounds in self.boundaries.values() for each in bounds]
        sheets = [sheet for kind in (self.labels, self.groups) for sheets in kind.values()
                  for sheet in sheets]  # fmt: skip
        return [
            *(rows for each in boundaries for rows in (each.kept, each.dropped)),
            *self.dropped.values(),
            *(sheet.rows for sheet in sheets),
            self.crops,
            self.kept,
        ]


def choose(outcome: Outcome, bounds: dict[str, tuple[float, ...]]) -> Choice:
    """Pick the clips of every section.

    Args:
        outcome: the decided set.
        bounds: filter -> scores at which its verdict flips.
    """
    choice = Choice(
        kept=spread(np.flatnonzero(outcome.kept), KEPT_SIZE),
        dropped={name: _dropped(outcome, name) for name in outcome.names},
        boundaries={
            name: [_boundary(outcome, name, bound) for bound in values if np.isfinite(bound)]
            for name, values in bounds.items()
        },
        crops=_crops(outcome),
    )
    for name, labels in outcome.labels.items():
        if _are_groups(outcome, name, labels):
            choice.groups[name] = _groups(outcome, labels)
        else:
            choice.labels[name] = _label_sheets(outcome, labels)
    pictures = _in_turn(choice.galleries(), MAX_PICTURES)
    choice.pictures = (*pictures, *_others(outcome, pictures, MAX_PICTURES))
    more = _others(outcome, choice.pictures, MAX_RECORDS)
    choice.records = tuple(sorted((*choice.pictures, *more)))
    return choice


def spread(rows: np.ndarray, size: int) -> tuple[int, ...]:
    """At most `size` of them, evenly over the whole list."""
    if len(rows) > size:
        rows = rows[np.arange(size) * len(rows) // size]
    return tuple(rows.tolist())


def _dropped(outcome: Outcome, name: str) -> tuple[int, ...]:
    column = outcome.column(name)
    rows = np.flatnonzero(outcome.dropped[:, column])
    by_score = np.argsort(outcome.scores[rows, column], kind="stable")
    return spread(rows[by_score], DROPPED_SIZE)


def _boundary(outcome: Outcome, name: str, bound: float) -> Boundary:
    column = outcome.column(name)
    scores = outcome.scores[:, column]
    known = np.isfinite(scores)
    sides = (known & ~outcome.dropped[:, column], known & outcome.dropped[:, column])
    kept, dropped = (_closest(scores, np.flatnonzero(side), bound) for side in sides)
    return Boundary(bound, kept, dropped)


def _closest(scores: np.ndarray, rows: np.ndarray, bound: float) -> tuple[int, ...]:
    distance = np.abs(scores[rows] - bound)
    if len(rows) > NEAREST_SIZE:
        few = np.argpartition(distance, NEAREST_SIZE - 1)
        # among equals, the first ones of the set
        rows = rows[distance <= distance[few[NEAREST_SIZE - 1]]]
        distance = np.abs(scores[rows] - bound)
    return tuple(rows[np.argsort(distance, kind="stable")][:NEAREST_SIZE].tolist())


def _crops(outcome: Outcome) -> tuple[int, ...]:
    rows = np.flatnonzero(outcome.cropped())
    return spread(rows[np.argsort(outcome.crop_share()[rows], kind="stable")], CROP_SIZE)


def _are_groups(outcome: Outcome, name: str, labels: Labels) -> bool:
    """Whether the classes belong side by side, as duplicates do.

    Then the filter lets one clip of each pass, or there are too many small ones for galleries.
    """
    sizes = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.names))
    passing = (labels.codes >= 0) & ~outcome.dropped[:, outcome.column(name)]
    left = np.bincount(labels.codes[passing], minlength=len(labels.names))
    several = sizes > 1
    one_each = bool(several.any()) and bool((left[several] == 1).all())
    return one_each or (len(sizes) > MAX_LABELS and sizes.mean() < GROUP_SIZE / 2)


def _label_sheets(outcome: Outcome, labels: Labels) -> list[LabelSheet]:
    size = 12 if len(labels.names) <= MANY_LABELS else 6
    return [
        _sheet(outcome, labels, code, spread(kept_first(outcome, rows), size))
        for code, rows in _classes(labels)[:MAX_LABELS]
    ]


def _groups(outcome: Outcome, labels: Labels) -> list[LabelSheet]:
    several = [(code, rows) for code, rows in _classes(labels) if len(rows) > 1]
    return [
        _sheet(outcome, labels, code, tuple(kept_first(outcome, rows)[:GROUP_SIZE].tolist()))
        for code, rows in several[:MAX_GROUPS]
    ]


def kept_first(outcome: Outcome, rows: np.ndarray) -> np.ndarray:
    """The same rows, kept ones before dropped ones."""
    return rows[np.argsort(~outcome.kept[rows], kind="stable")]


def _sheet(outcome: Outcome, labels: Labels, code: int, rows: tuple[int, ...]) -> LabelSheet:
    mine = labels.codes == code
    return LabelSheet(labels.names[code], int(mine.sum()), int((mine & outcome.kept).sum()), rows)


def _classes(labels: Labels) -> list[tuple[int, np.ndarray]]:
    """(code, rows) of every class, largest first."""
    order = np.argsort(labels.codes, kind="stable")
    starts = np.searchsorted(labels.codes[order], np.arange(len(labels.names) + 1))
    classes = [(code, order[starts[code] : starts[code + 1]]) for code in range(len(labels.names))]
    return sorted(classes, key=lambda each: (-len(each[1]), labels.names[each[0]]))


def _others(outcome: Outcome, rows: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """Clips that are not among `rows`, so many that all together are `limit`."""
    return spread(np.setdiff1d(np.arange(len(outcome)), rows), limit - len(rows))


def _in_turn(galleries: Sequence[tuple[int, ...]], limit: int) -> tuple[int, ...]:
    """The first of each gallery, then the second of each, and so on, each clip once."""
    found: dict[int, None] = {}
    for depth in range(max((len(rows) for rows in galleries), default=0)):
        for rows in galleries:
            if depth < len(rows) and len(found) < limit:
                found.setdefault(rows[depth])
    return tuple(found)
