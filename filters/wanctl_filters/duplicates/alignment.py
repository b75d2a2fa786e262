"""Aligns the frames of two clips in time, at any offset and several playback speeds."""

from typing import NamedTuple

import numpy as np

# Playback speeds that are tried, besides the one that makes both clips equally long.
_RATES = (1.0, 0.9, 1 / 0.9, 1.1, 1 / 1.1, 0.8, 1.25, 1 / 1.5, 1.5)
_SLOWEST, _FASTEST = 0.6, 1.7
_ANCHORS = 8
_MISSED = 0.02  # cost of a time error of one frame interval, as a share of signs


class HashTable(NamedTuple):
    """One view of the frames of K clips, padded to F places each.

    Attributes:
        signs: (K, F, 4) uint64.
        coarse: (K, F, 16) int16.
        time_s: (K, F) float32, infinite where unused.
        used: (K, F) bool, false for padding.
        length_s: (K,) durations.
        step_s: (K,) time between frames.
    """

    signs: np.ndarray
    coarse: np.ndarray
    time_s: np.ndarray
    used: np.ndarray
    length_s: np.ndarray
    step_s: np.ndarray


class ClipPairs(NamedTuple):
    """K pairs of clips; the frames of the shorter ones, `short`, are searched in `long`."""

    short: HashTable
    long: HashTable


class FrameHashes(NamedTuple):
    """The frame hashes of all clips, one after another.

    Attributes:
        signs: (P, V, 4) uint64, by view.
        coarse: (P, V, 16) int16.
        time_s: (P,) float.
        starts: (N + 1,) index of each clip's first frame.
        length_s: (N,) durations.
    """

    signs: np.ndarray
    coarse: np.ndarray
    time_s: np.ndarray
    starts: np.ndarray
    length_s: np.ndarray

    def table(self, rows: np.ndarray, views: np.ndarray) -> HashTable:
        """The hashes of one view of each of (K,) clips, padded to a table."""
        count = self.starts[rows + 1] - self.starts[rows]
        place = np.arange(max(1, int(count.max(initial=1))))
        used = place < count[:, None]
        at = np.where(used, self.starts[rows][:, None] + place, 0)
        if not len(self.time_s):
            raise ValueError("clips without frames have no table")
        return HashTable(
            signs=self.signs[at, views[:, None]],
            coarse=self.coarse[at, views[:, None]],
            time_s=np.where(used, self.time_s[at], np.inf).astype(np.float32),
            used=used,
            length_s=self.length_s[rows],
            step_s=self.length_s[rows] / np.maximum(count, 1),
        )


def align(pairs: ClipPairs, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K,) speed and (K,) offset in seconds at which most frames agree.

    The nearest counterpart of each of a few anchor frames proposes an offset for every speed; the
    proposal with the lowest cost wins. A frame at time t of the shorter clip corresponds to
    speed * t + offset in the longer one.

    Args:
        pairs: the clips.
        distance: (K, F, G) hash distance of their frames, 0 to 1.
    """
    short, long = pairs
    every = np.arange(len(distance))
    size, other = distance.shape[1:]
    number, num_long = short.used.sum(axis=1), long.used.sum(axis=1)
    nearest = distance.argmin(axis=2)
    finite = np.where(short.used, short.time_s, 0.0)
    best = np.full(len(distance), np.inf)
    rate_, offset_ = np.ones(len(distance)), np.zeros(len(distance))
    for rate in _rates(pairs).T:
        for part in range(min(_ANCHORS, size)):
            anchor = np.minimum(part * np.maximum(number, _ANCHORS) // _ANCHORS, size - 1)
            offset = long.time_s[every, nearest[every, anchor]] - rate * finite[every, anchor]
            times = finite * rate[:, None] + offset[:, None]
            exact = (times - long.time_s[:, :1]) / long.step_s[:, None]
            place = np.rint(exact)
            overlaps = short.used & (place >= 0) & (place < num_long[:, None])
            overlaps &= (anchor < number)[:, None]
            place = np.clip(place, 0, other - 1).astype(np.int64)
            num_overlapping = overlaps.sum(axis=1)
            off = distance[every[:, None], np.arange(size)[None], place]
            # of speeds that select the same frames, the one with the smallest time errors
            off = ((off + _MISSED * np.abs(exact - place)) * overlaps).sum(axis=1)
            # frames without a counterpart cost 0.25; unrelated frames have a distance of 0.5
            cost = (off + 0.25 * (number - num_overlapping)) / np.maximum(number, 1)
            better = (num_overlapping >= 1) & (cost < best - 1e-6)
            best[better], rate_[better], offset_[better] = (
                cost[better],
                rate[better],
                offset[better],
            )
    return rate_, offset_


def bracketing_frames(
    pairs: ClipPairs, rate: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The two frames of the longer clip around each frame time of the shorter one.

    Returns:
        (K, F) index of the frame before, (K, F) index of the frame after, (K, F) position between
        the two, 0 to 1, and (K, F) bool, whether the longer clip covers that time.
    """
    short, long = pairs
    finite = np.where(short.used, short.time_s, 0.0)
    times = (finite * rate[:, None] + offset[:, None]).astype(np.float32)
    last = np.maximum(long.used.sum(axis=1) - 1, 0)[:, None]
    passed = (long.time_s[:, None] <= times[:, :, None]).sum(axis=2)
    before = np.clip(passed - 1, 0, last)
    after = np.minimum(before + 1, last)
    every = np.arange(len(rate))[:, None]
    start, end = long.time_s[every, before], long.time_s[every, after]
    share = np.clip((times - start) / np.maximum(end - start, 1e-6), 0.0, 1.0)
    slack = 0.5 * long.step_s[:, None]
    inside = short.used & (times >= long.time_s[:, :1] - slack)
    inside &= times <= long.time_s[every, last] + slack
    return before, after, share, inside


def _rates(pairs: ClipPairs) -> np.ndarray:
    stretch = pairs.long.length_s / np.maximum(pairs.short.length_s, 1e-6)
    rates = [np.full(len(stretch), rate) for rate in _RATES]
    return np.stack([*rates, np.clip(stretch, _SLOWEST, _FASTEST)], axis=1)
