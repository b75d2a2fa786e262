"""Which moment of one clip belongs to which of another, at any offset and several speeds."""

from typing import NamedTuple

import numpy as np

# Playback speeds that are tried, next to the one that makes both clips equally long.
_RATES = (1.0, 0.9, 1 / 0.9, 1.1, 1 / 1.1, 0.8, 1.25, 1 / 1.5, 1.5)
_SLOWEST, _FASTEST = 0.6, 1.7
_ANCHORS = 8
_MISSED = 0.02  # what being a whole picture late counts, as a share of signs


class Table(NamedTuple):
    """One view of the pictures of K clips, F places each; places beyond a clip's last are unused.

    Attributes:
        signs: (K, F, 4) uint64.
        coarse: (K, F, 16) int16.
        time_s: (K, F) float32, infinite where unused.
        used: (K, F) bool.
        length_s: (K,) durations.
        step_s: (K,) time between pictures.
    """

    signs: np.ndarray
    coarse: np.ndarray
    time_s: np.ndarray
    used: np.ndarray
    length_s: np.ndarray
    step_s: np.ndarray


class Sides(NamedTuple):
    """K pairs of clips; `short` are the shorter ones, whose pictures are looked up in `long`."""

    short: Table
    long: Table


class Pictures(NamedTuple):
    """The pictures of all clips, one after another.

    Attributes:
        signs: (P, V, 4) uint64, by view.
        coarse: (P, V, 16) int16.
        time_s: (P,) float.
        starts: (N + 1,) where each clip's pictures begin.
        length_s: (N,) durations.
    """

    signs: np.ndarray
    coarse: np.ndarray
    time_s: np.ndarray
    starts: np.ndarray
    length_s: np.ndarray

    def table(self, rows: np.ndarray, views: np.ndarray) -> Table:
        """One view each of (K,) clips."""
        count = self.starts[rows + 1] - self.starts[rows]
        place = np.arange(max(1, int(count.max(initial=1))))
        used = place < count[:, None]
        at = np.where(used, self.starts[rows][:, None] + place, 0)
        if not len(self.time_s):
            raise ValueError("clips without a picture have no table")
        return Table(
            signs=self.signs[at, views[:, None]],
            coarse=self.coarse[at, views[:, None]],
            time_s=np.where(used, self.time_s[at], np.inf).astype(np.float32),
            used=used,
            length_s=self.length_s[rows],
            step_s=self.length_s[rows] / np.maximum(count, 1),
        )


def align(sides: Sides, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K,) speed and (K,) offset in seconds at which most pictures agree.

    Every picture's best counterpart proposes an offset for every speed; the proposal under which
    most agrees wins. A picture shown at t in the shorter clip is looked for at speed * t + offset.

    Args:
        sides: the pairs.
        apart: (K, F, G) how far pictures are apart, 0 to 1.
    """
    short, long = sides
    every = np.arange(len(apart))
    size, other = apart.shape[1:]
    number, there = short.used.sum(axis=1), long.used.sum(axis=1)
    nearest = apart.argmin(axis=2)
    finite = np.where(short.used, short.time_s, 0.0)
    best = np.full(len(apart), np.inf)
    rate_, offset_ = np.ones(len(apart)), np.zeros(len(apart))
    for rate in _rates(sides).T:
        for part in range(min(_ANCHORS, size)):
            anchor = np.minimum(part * np.maximum(number, _ANCHORS) // _ANCHORS, size - 1)
            offset = long.time_s[every, nearest[every, anchor]] - rate * finite[every, anchor]
            wanted = finite * rate[:, None] + offset[:, None]
            exact = (wanted - long.time_s[:, :1]) / long.step_s[:, None]
            place = np.rint(exact)
            held = short.used & (place >= 0) & (place < there[:, None])
            held &= (anchor < number)[:, None]
            place = np.clip(place, 0, other - 1).astype(np.int64)
            agreeing = held.sum(axis=1)
            off = apart[every[:, None], np.arange(size)[None], place]
            # of speeds that lead to the same pictures, the one that meets their moments
            off = ((off + _MISSED * np.abs(exact - place)) * held).sum(axis=1)
            # pictures without a counterpart count as half wrong, strangers as all
            cost = (off + 0.25 * (number - agreeing)) / np.maximum(number, 1)
            better = (agreeing >= 1) & (cost < best - 1e-6)
            best[better], rate_[better], offset_[better] = (
                cost[better],
                rate[better],
                offset[better],
            )
    return rate_, offset_


def between(
    sides: Sides, rate: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The two pictures of the longer clip around each moment of the shorter one.

    Returns:
        (K, F) the place before, (K, F) the place after, (K, F) how far it is from one to the
        other, 0 to 1, and (K, F) bool, whether the longer clip has that moment.
    """
    short, long = sides
    finite = np.where(short.used, short.time_s, 0.0)
    wanted = (finite * rate[:, None] + offset[:, None]).astype(np.float32)
    last = np.maximum(long.used.sum(axis=1) - 1, 0)[:, None]
    passed = (long.time_s[:, None] <= wanted[:, :, None]).sum(axis=2)
    before = np.clip(passed - 1, 0, last)
    after = np.minimum(before + 1, last)
    every = np.arange(len(rate))[:, None]
    start, end = long.time_s[every, before], long.time_s[every, after]
    share = np.clip((wanted - start) / np.maximum(end - start, 1e-6), 0.0, 1.0)
    slack = 0.5 * long.step_s[:, None]
    inside = short.used & (wanted >= long.time_s[:, :1] - slack)
    inside &= wanted <= long.time_s[every, last] + slack
    return before, after, share, inside


def _rates(sides: Sides) -> np.ndarray:
    stretch = sides.long.length_s / np.maximum(sides.short.length_s, 1e-6)
    rates = [np.full(len(stretch), rate) for rate in _RATES]
    return np.stack([*rates, np.clip(stretch, _SLOWEST, _FASTEST)], axis=1)
