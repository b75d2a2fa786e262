"""From the motion filter's evidence to its six tiers, for many clips at once."""

from dataclasses import dataclass

import numpy as np

from wanctl.curate.api import ClipBatch, Ragged
from wanctl_filters.motion.bursts import SPEED_UNIT, TRUSTED, UNKNOWN

TIERS = ("optimal", "medium", "static", "camera", "low_quality", "shaky")

# Zoom and roll move the corners and not the middle: their speed half way out.
_ARM = 0.3


@dataclass(frozen=True)
class Features:
    """One number per clip each; speeds in long sides per second.

    Attributes:
        camera: speed of the camera.
        shake: its acceleration, per second squared.
        area: share of the view that moves against the camera.
        speed: how fast.
        compact: 1 where one round thing moves, less the more that is spread over the picture.
        conflict: how far neighbouring parts move across each other, 0 to 1.
        lost: share of the view that could not be followed.
        untold: share of the pairs on which no camera could be found.
    """

    camera: np.ndarray
    shake: np.ndarray
    area: np.ndarray
    speed: np.ndarray
    compact: np.ndarray
    conflict: np.ndarray
    lost: np.ndarray
    untold: np.ndarray

    def words(self, row: int) -> str:
        """The numbers of one clip, for a reason."""
        return (
            f"camera {self.camera[row]:.1%}/s, shake {self.shake[row]:.2f}/s2, "
            f"{self.area[row]:.1%} of the picture moves at {self.speed[row]:.1%}/s, "
            f"conflict {self.conflict[row]:.2f}, lost {self.lost[row]:.0%}"
        )


def sort_into_tiers(
    found: Features,
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
    shaky = found.shake > max_shake
    moving = found.area >= min_area
    messy = (found.lost > max_lost) | (found.untold > 0.5)
    messy |= moving & (found.conflict > max_conflict)
    panning = found.camera > camera_speed
    clear = (found.area >= clear_area) & (found.compact >= min_compact)
    return np.select(
        [shaky, messy, ~moving & ~panning, ~moving, clear],
        [TIERS.index(n) for n in ("shaky", "low_quality", "static", "camera", "optimal")],
        TIERS.index("medium"),
    )


def features(batch: ClipBatch, *, moving_speed: float, parallax: float) -> Features:
    """Sum up the evidence, inside each clip's view."""
    paths = _Paths(batch)
    camera, shake, untold = paths.camera(), paths.shake(), paths.untold()
    grids = _Grids(batch, paths)
    floor = np.maximum(moving_speed, parallax * grids.camera)
    moves = grids.speed > floor
    area = grids.share(moves)
    # a clip is as lively as its livelier half
    return Features(
        camera=camera,
        shake=shake,
        area=grids.upper_half(area),
        speed=grids.upper_half(grids.mean(grids.speed, moves)),
        compact=grids.pooled(grids.compactness(moves) * area, area),
        conflict=grids.pooled(grids.conflict(moves) * area, area),
        lost=grids.upper_half(grids.share(grids.lost)),
        untold=untold,
    )


class _Paths:
    """The camera's pairs of all clips."""

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
        self.speed = np.sqrt((self.velocity**2) @ [1, 1, _ARM**2, _ARM**2])
        self.clips = len(batch)

    def camera(self) -> np.ndarray:
        """(N,) median speed of the pairs whose camera is known; 0 where there is none."""
        clip = self.clip_of_burst[self.burst_of_pair]
        return _medians(self.speed[self.trusted], clip[self.trusted], self.clips)

    def shake(self) -> np.ndarray:
        """(N,) middle one of the bursts' accelerations."""
        first, second = np.arange(len(self.gap) - 1), np.arange(1, len(self.gap))
        same = self.burst_of_pair[first] == self.burst_of_pair[second]
        same &= self.trusted[first] & self.trusted[second]
        first, second = first[same], second[same]
        apart = (self.gap[first] + self.gap[second]) / 2
        change = (self.velocity[second] - self.velocity[first]) / apart[:, None]
        # not the zoom: a hand does not pump, and noise looks most like it
        power = (change**2) @ [1, 1, 0, _ARM**2]
        burst = self.burst_of_pair[first]
        size = len(self.clip_of_burst)
        counts = np.bincount(burst, minlength=size)
        rms = np.sqrt(np.bincount(burst, power, size) / np.maximum(counts, 1))
        return _medians(rms[counts > 0], self.clip_of_burst[counts > 0], self.clips)

    def untold(self) -> np.ndarray:
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
    """The cells of all bursts of all clips, weighted by how much of them the view shows."""

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
        self.lost = _flat(batch.lists("lost")) / 100
        pan, tilt, zoom, roll = paths.burst_velocity()[self._burst].T
        self.camera = np.hypot(
            pan + zoom * self._x - roll * self._y, tilt + roll * self._x + zoom * self._y
        )
        self._total = np.bincount(self._burst, self._weight, len(cells))

    def _place(
        self, batch: ClipBatch, columns: np.ndarray, rows: np.ndarray, clip: np.ndarray
    ) -> None:
        """Where the cells lie, in long sides, and what share of each the view shows."""
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

    def share(self, part: np.ndarray) -> np.ndarray:
        """(B,) share of the view, of (C,) shares of cells."""
        sums = np.bincount(self._burst, self._weight * part, len(self._total))
        return sums / np.maximum(self._total, 1e-9)

    def mean(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """(B,) mean over the cells named; 0 where there are none."""
        weight = self._weight * where
        size = len(self._total)
        counts = np.bincount(self._burst, weight, size)
        return np.bincount(self._burst, weight * values, size) / np.maximum(counts, 1e-9)

    def compactness(self, where: np.ndarray) -> np.ndarray:
        """(B,) area of the cells named, as a share of a disk's that is as far spread as they."""
        own = self._cell_width * self._cell_height
        x, y = self.mean(self._x, where)[self._burst], self.mean(self._y, where)[self._burst]
        inner = (self._cell_width**2 + self._cell_height**2) / 12
        spread = self.mean((self._x - x) ** 2 + (self._y - y) ** 2 + inner, where)
        area = np.bincount(self._burst, self._weight * where * own, len(self._total))
        return area / np.maximum(2 * np.pi * spread, 1e-9)

    def conflict(self, where: np.ndarray) -> np.ndarray:
        """(B,) 0 where neighbouring cells move alike, 1 where they move at random."""
        size = len(self._total)
        together, apart = np.zeros(size), np.zeros(size)
        moving = where & (self._weight > 0)
        for step, last in ((1, self._last_column), (self._columns, self._last_row)):
            first = np.flatnonzero(moving & ~last)
            second = (np.arange(len(where)) + step)[first]
            first, second = first[moving[second]], second[moving[second]]
            dot = (self._velocity[first] * self._velocity[second]).sum(axis=1)
            together += np.bincount(self._burst[first], dot, size)
            apart += np.bincount(self._burst[first], self.speed[first] * self.speed[second], size)
        return np.clip(1 - together / np.maximum(apart, 1e-12), 0, 1) * (apart > 0)

    def upper_half(self, values: np.ndarray) -> np.ndarray:
        """(N,) of (B,): mean of the larger half of each clip's bursts."""
        order = np.lexsort((-values, self._clip_of_burst))
        clip = self._clip_of_burst[order]
        counts = np.bincount(clip, minlength=self._clips)
        rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[clip]
        taken = rank < (counts[clip] + 1) // 2
        sums = np.bincount(clip[taken], values[order][taken], self._clips)
        return sums / np.maximum((counts + 1) // 2, 1)

    def pooled(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(N,) of (B,): sum of values over sum of weights."""
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
