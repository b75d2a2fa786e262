"""Derives features and the six tiers from the motion filter's evidence, for many clips at once."""

from dataclasses import dataclass

import numpy as np

from wanctl.curate.api import ClipBatch, Ragged
from wanctl_filters.motion.bursts import SPEED_UNIT, TRUSTED, UNKNOWN
from wanctl_filters.motion.shake import ARM

TIERS = ("optimal", "medium", "static", "camera", "low_quality", "shaky")

# Shake is more visible while the camera stands: up to the first drift the bound is this share of
# the bound from the second on; long sides per second.
_DRIFTS, _AT_REST = (0.01, 0.02), 0.4

# Motion across the direction to the epipole, relative to all motion of a cell: the flow of a rigid
# scene is off by a fifth.
_ACROSS = 0.35
# Scattered cells count this much: the error of parallax is scattered, and a subject is compact.
_SCATTERED = 0.6
# In a crowd this share of the frame moves, and this share of the pairs has no background.
_FULL, _NO_CAMERA = 0.6, 0.9


@dataclass(frozen=True)
class Features:
    """One number per clip each; speeds in long sides per second.

    Attributes:
        camera: speed that the camera has in half of the clip.
        shake: its acceleration without the smooth part of its path, per second squared.
        area: share of the view that moves relative to the camera and not by parallax.
        speed: speed of the part that moves.
        compact: compactness of that part; 1 for a disk, less where it is spread over the frame.
        conflict: disagreement of motion between neighbouring cells, 0 to 1.
        lost: share of the view whose flow is inconsistent, in the median burst.
        untrusted: share of the pairs without a trusted camera model.
    """

    camera: np.ndarray
    shake: np.ndarray
    area: np.ndarray
    speed: np.ndarray
    compact: np.ndarray
    conflict: np.ndarray
    lost: np.ndarray
    untrusted: np.ndarray

    def summary(self, row: int) -> str:
        """The features of one clip as text, for a reason."""
        return (
            f"camera {self.camera[row]:.1%}/s, shake {self.shake[row]:.2f}/s2, "
            f"{self.area[row]:.1%} of the frame moves at {self.speed[row]:.1%}/s, "
            f"conflict {self.conflict[row]:.2f}, lost {self.lost[row]:.0%}"
        )


def sort_into_tiers(
    features: Features,
    *,
    camera_speed: float,
    min_area: float,
    clear_area: float,
    min_compact: float,
    max_shake: float,
    max_conflict: float,
    max_lost: float,
) -> np.ndarray:
    """(N,) indices into TIERS."""
    shaky = features.shake > max_shake
    full = features.area >= _FULL
    messy = features.lost > max_lost
    messy |= full & ((features.conflict > max_conflict) | (features.untrusted > _NO_CAMERA))
    panning = features.camera > camera_speed
    moving = features.area * (_SCATTERED + features.compact) >= min_area
    clear = (features.area >= clear_area) & (features.compact >= min_compact)
    return np.select(
        [shaky, messy, ~moving & ~panning, ~moving, clear],
        [TIERS.index(n) for n in ("shaky", "low_quality", "static", "camera", "optimal")],
        TIERS.index("medium"),
    )


def features(batch: ClipBatch, *, moving_speed: float, parallax: float) -> Features:
    """Features of each clip, from the evidence inside its view."""
    paths = _Paths(batch)
    grids = _Grids(batch, paths)
    speeds = paths.burst_speed()
    floor = np.maximum(moving_speed, parallax * grids.of_cells(speeds))
    moves = grids.speed > floor
    moves |= grids.apart > np.maximum(moving_speed, _ACROSS * grids.speed)
    area = grids.share(moves)
    # the half of the bursts with more motion counts
    return Features(
        camera=grids.sustained(speeds),
        shake=_shake(batch),
        area=grids.upper_half(area),
        speed=grids.upper_half(grids.mean(grids.speed, moves)),
        compact=grids.pooled(grids.compactness(moves) * area, area),
        conflict=grids.pooled(grids.conflict(moves) * area, area),
        lost=_medians(grids.share(grids.lost), paths.clip_of_burst, len(batch)),
        untrusted=paths.untrusted(),
    )


def _shake(batch: ClipBatch) -> np.ndarray:
    """(N,) median over the bursts of the shake; 0 where it is unknown."""
    bursts = batch.lists("shake")
    shake, drift = _flat(bursts), _flat(batch.lists("drift"))
    bound = np.interp(drift, _DRIFTS, (_AT_REST, 1.0))
    known = shake >= 0
    clip = np.repeat(np.arange(len(batch)), bursts.counts())
    return _medians((shake / bound)[known], clip[known], len(batch))


class _Paths:
    """The camera motion of all pairs of all clips."""

    def __init__(self, batch: ClipBatch) -> None:
        bursts = batch.lists("pairs")
        self.burst_starts = bursts.starts
        gaps = batch.lists("gap_s")
        offset = gaps.starts[0]
        self.starts = gaps.starts - offset
        gap = np.maximum(gaps.values[offset : gaps.starts[-1]], 1e-6)
        pan, tilt, zoom, roll, trust = (
            each.values[each.starts[0] : each.starts[-1]]
            for each in (batch.lists(n) for n in ("pan", "tilt", "zoom", "roll", "trust"))
        )
        self.gap = gap
        self.trusted = trust >= TRUSTED
        counts = bursts.values[bursts.starts[0] : bursts.starts[-1]].astype(np.int64)
        self.burst_of_pair = np.repeat(np.arange(len(counts)), counts)
        self.clip_of_burst = np.repeat(np.arange(len(batch)), bursts.counts())
        self.velocity = np.stack([pan, tilt, zoom, roll], axis=1) / gap[:, None]
        self.clips = len(batch)

    def burst_speed(self) -> np.ndarray:
        """(B,) speed of the camera's mean motion in each burst; 0 where it is unknown."""
        return np.sqrt((self.burst_velocity() ** 2) @ [1, 1, ARM**2, ARM**2])

    def untrusted(self) -> np.ndarray:
        """(N,) share of the pairs without a trusted camera."""
        clip = self.clip_of_burst[self.burst_of_pair]
        total = np.bincount(clip, minlength=self.clips)
        lost = np.bincount(clip, ~self.trusted, self.clips)
        return lost / np.maximum(total, 1)

    def burst_velocity(self) -> np.ndarray:
        """(B, 4) the camera's mean pan, tilt, zoom and roll per second in each burst."""
        size = len(self.clip_of_burst)
        counts = np.bincount(self.burst_of_pair, self.trusted, size)
        sums = [
            np.bincount(self.burst_of_pair, each * self.trusted, size) for each in self.velocity.T
        ]
        return np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]


class _Grids:
    """The cells of all bursts of all clips, weighted by their share inside the view."""

    def __init__(self, batch: ClipBatch, paths: _Paths) -> None:
        across = batch.lists("across")
        self._clips = len(batch)
        self._clip_of_burst = paths.clip_of_burst
        bursts = np.bincount(paths.clip_of_burst, minlength=len(batch))
        per_burst = across.counts() // np.maximum(bursts, 1)
        cells = per_burst[paths.clip_of_burst]
        self._burst = np.repeat(np.arange(len(cells)), cells)
        starts = np.cumsum(cells) - cells
        cell = np.arange(int(cells.sum())) - starts[self._burst]
        clip = paths.clip_of_burst[self._burst]
        columns = np.maximum(batch.numbers("columns").astype(np.int64), 1)
        rows = np.maximum(per_burst // columns, 1)
        self._column, self._row = cell % columns[clip], cell // columns[clip]
        self._columns = columns[clip]
        self._last_column = self._column == columns[clip] - 1
        self._last_row = self._row == rows[clip] - 1
        self._place(batch, columns, rows, clip)
        known = _flat(across) != UNKNOWN
        self._velocity = np.stack([_flat(across), _flat(batch.lists("down"))], axis=1)
        self._velocity *= SPEED_UNIT * known[:, None]
        self.speed = np.sqrt((self._velocity**2).sum(axis=1))
        self.apart = np.maximum(_flat(batch.lists("apart")), 0) * SPEED_UNIT
        self.lost = _flat(batch.lists("lost")) / 100
        self._total = np.bincount(self._burst, self._weight, len(cells))

    def _place(
        self, batch: ClipBatch, columns: np.ndarray, rows: np.ndarray, clip: np.ndarray
    ) -> None:
        """Positions of the cells, in long sides, and the share of each inside the view."""
        x, y, width, height = _flat(batch.lists("area")).reshape(-1, 4).T
        view = batch.views.astype(np.float64)
        across = _overlap(x, width / columns, view[:, 0], view[:, 2], clip, self._column)
        down = _overlap(y, height / rows, view[:, 1], view[:, 3], clip, self._row)
        self._weight = across * down
        side = np.maximum(np.maximum(width, height), 1)
        self._cell_width, self._cell_height = (
            (width / columns / side)[clip],
            (height / rows / side)[clip],
        )
        self._x = (self._column + 0.5) * self._cell_width - (width / side)[clip] / 2
        self._y = (self._row + 0.5) * self._cell_height - (height / side)[clip] / 2

    def of_cells(self, values: np.ndarray) -> np.ndarray:
        """(C,) from (B,): the value of each cell's burst."""
        return values[self._burst]

    def share(self, part: np.ndarray) -> np.ndarray:
        """(B,) share of the view, from (C,) shares of cells."""
        sums = np.bincount(self._burst, self._weight * part, len(self._total))
        return sums / np.maximum(self._total, 1e-9)

    def mean(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """(B,) mean over the masked cells; 0 where there are none."""
        weight = self._weight * where
        size = len(self._total)
        counts = np.bincount(self._burst, weight, size)
        return np.bincount(self._burst, weight * values, size) / np.maximum(counts, 1e-9)

    def compactness(self, where: np.ndarray) -> np.ndarray:
        """(B,) area of the masked cells relative to a disk of the same variance."""
        own = self._cell_width * self._cell_height
        x, y = self.mean(self._x, where)[self._burst], self.mean(self._y, where)[self._burst]
        inner = (self._cell_width**2 + self._cell_height**2) / 12
        spread = self.mean((self._x - x) ** 2 + (self._y - y) ** 2 + inner, where)
        area = np.bincount(self._burst, self._weight * where * own, len(self._total))
        return area / np.maximum(2 * np.pi * spread, 1e-9)

    def conflict(self, where: np.ndarray) -> np.ndarray:
        """(B,) 0 where neighbouring cells move equally, 1 where they move at random."""
        size = len(self._total)
        dot_sum, speed_sum = np.zeros(size), np.zeros(size)
        moving = where & (self._weight > 0)
        for step, last in ((1, self._last_column), (self._columns, self._last_row)):
            first = np.flatnonzero(moving & ~last)
            second = (np.arange(len(where)) + step)[first]
            first, second = first[moving[second]], second[moving[second]]
            dot = (self._velocity[first] * self._velocity[second]).sum(axis=1)
            dot_sum += np.bincount(self._burst[first], dot, size)
            speeds = self.speed[first] * self.speed[second]
            speed_sum += np.bincount(self._burst[first], speeds, size)
        return np.clip(1 - dot_sum / np.maximum(speed_sum, 1e-12), 0, 1) * (speed_sum > 0)

    def upper_half(self, values: np.ndarray) -> np.ndarray:
        """(N,) from (B,): mean of the larger half of each clip's bursts."""
        order = np.lexsort((-values, self._clip_of_burst))
        clip = self._clip_of_burst[order]
        counts = np.bincount(clip, minlength=self._clips)
        rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[clip]
        taken = rank < (counts[clip] + 1) // 2
        sums = np.bincount(clip[taken], values[order][taken], self._clips)
        return sums / np.maximum((counts + 1) // 2, 1)

    def sustained(self, values: np.ndarray) -> np.ndarray:
        """(N,) from (B,): what at least half of each clip's bursts reach."""
        order = np.lexsort((-values, self._clip_of_burst))
        counts = np.bincount(self._clip_of_burst, minlength=self._clips)
        result, filled = np.zeros(self._clips), np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[filled]
        result[filled] = values[order][starts + (counts[filled] - 1) // 2]
        return result

    def pooled(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(N,) from (B,): sum of values divided by sum of weights."""
        sums = np.bincount(self._clip_of_burst, values, self._clips)
        total = np.bincount(self._clip_of_burst, weights, self._clips)
        return sums / np.maximum(total, 1e-9)


def _overlap(
    start: np.ndarray,
    step: np.ndarray,
    low: np.ndarray,
    length: np.ndarray,
    clip: np.ndarray,
    number: np.ndarray,
) -> np.ndarray:
    first = start[clip] + number * step[clip]
    inside = np.minimum(first + step[clip], (low + length)[clip]) - np.maximum(first, low[clip])
    return np.clip(inside / np.maximum(step[clip], 1e-9), 0, 1)


def _flat(column: Ragged) -> np.ndarray:
    return column.values[column.starts[0] : column.starts[-1]].astype(np.float64)


def _medians(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """(groups,) median of the values of each group; 0 where it has none."""
    order = np.lexsort((values, group))
    values, counts = values[order], np.bincount(group, minlength=groups)
    result = np.zeros(groups)
    filled = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[filled]
    lower, upper = (counts[filled] - 1) // 2, counts[filled] // 2
    result[filled] = (values[starts + lower] + values[starts + upper]) / 2
    return result
