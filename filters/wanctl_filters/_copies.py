"""Whether two clips are copies: their pictures agree in order, and so does what moves in them."""

from typing import NamedTuple

import numpy as np

from wanctl_filters._picture_hash import MIRROR, MIRROR_COARSE, STEP

# Playback speeds that are tried, next to the one that makes both clips equally long.
_RATES = (1.0, 0.9, 1.0 / 0.9, 1.1, 1.0 / 1.1)
_CHUNK = 2048


class Clips(NamedTuple):
    """Pictures of all clips in tables of equal width; places beyond a clip's last are unused.

    Attributes:
        signs: (N, F, 4) uint64.
        coarse: (N, F, 16) int16.
        time_s: (N, F) float32, infinite where unused.
        pictures: (N,) how many there are.
        length_s: (N,) durations.
    """

    signs: np.ndarray
    coarse: np.ndarray
    time_s: np.ndarray
    pictures: np.ndarray
    length_s: np.ndarray


class Likeness(NamedTuple):
    """How alike pairs of clips are, at the best alignment.

    Attributes:
        apart: (K,) share of signs that differ, 0 to 1.
        together: (K,) correlation of what changes over time; 1 where nothing does in either.
        alive: (K,) how much changes in the livelier one, in levels.
        overlap: (K,) share of the shorter clip that has a counterpart.
    """

    apart: np.ndarray
    together: np.ndarray
    alive: np.ndarray
    overlap: np.ndarray


def compare(clips: Clips, pairs: np.ndarray) -> Likeness:
    """Likeness of (K, 3) pairs: first clip, second clip, whether one is mirrored."""
    parts = [
        _compare(clips, pairs[start : start + _CHUNK]) for start in range(0, len(pairs), _CHUNK)
    ]
    if not parts:
        none = np.zeros(0)
        return Likeness(none, none, none, none)
    return Likeness(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _compare(clips: Clips, pairs: np.ndarray) -> Likeness:
    # walk along the shorter one
    swap = clips.length_s[pairs[:, 0]] > clips.length_s[pairs[:, 1]]
    short = np.where(swap, pairs[:, 1], pairs[:, 0])
    long = np.where(swap, pairs[:, 0], pairs[:, 1])
    mirrored = pairs[:, 2].astype(bool)
    signs = clips.signs[short] ^ np.where(mirrored[:, None, None], MIRROR, np.uint64(0))
    apart = _distances(signs, clips.signs[long])
    used = np.isfinite(clips.time_s[short])[:, :, None] & np.isfinite(clips.time_s[long])[:, None]
    apart = np.where(used, apart, 1.0)
    match, inside = _align(clips, short, long, apart)
    every = np.arange(len(pairs))[:, None]
    places = np.arange(match.shape[1])[None]
    count = np.maximum(inside.sum(axis=1), 1)
    mean = (apart[every, places, match] * inside).sum(axis=1) / count
    first = clips.coarse[short] * np.where(mirrored[:, None, None], MIRROR_COARSE, np.int16(1))
    together, alive = _moving_alike(first, clips.coarse[long[:, None], match], inside)
    return Likeness(
        mean, together, alive, inside.sum(axis=1) / np.maximum(clips.pictures[short], 1)
    )


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K, F, F) share of signs that differ."""
    result = np.zeros((len(first), first.shape[1], second.shape[1]), dtype=np.uint16)
    for word in range(first.shape[2]):
        result += np.bitwise_count(first[:, :, None, word] ^ second[:, None, :, word])
    return result.astype(np.float32) / 255  # one of the 256 is always zero


def _align(
    clips: Clips, short: np.ndarray, long: np.ndarray, apart: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each picture of the shorter clip its counterpart's place, and whether it has one.

    Every picture's best counterpart proposes an offset for every speed; the proposal under which
    most agrees wins.
    """
    time, other = clips.time_s[short], clips.time_s[long]
    size = time.shape[1]
    used = np.isfinite(time)
    nearest = apart.argmin(axis=2)
    stretch = clips.length_s[long] / np.maximum(clips.length_s[short], 1e-6)
    rates = np.stack([np.full(len(short), rate) for rate in _RATES], axis=1)
    rates = np.concatenate([rates, np.clip(stretch, 0.8, 1.25)[:, None]], axis=1)
    best = np.full(len(short), np.inf)
    match = np.zeros((len(short), size), dtype=np.int64)
    inside = np.zeros((len(short), size), dtype=bool)
    every = np.arange(len(short))[:, None]
    step = clips.length_s[long] / np.maximum(clips.pictures[long], 1)
    finite = np.where(used, time, 0.0)
    for rate in rates.T:
        for anchor in range(size):
            offset = other[every[:, 0], nearest[:, anchor]] - rate * finite[:, anchor]
            wanted = finite * rate[:, None] + offset[:, None]
            place = np.rint((wanted - other[:, :1]) / step[:, None])
            held = used & (place >= 0) & (place < clips.pictures[long][:, None])
            held &= used[:, anchor, None]
            place = np.clip(place, 0, size - 1).astype(np.int64)
            agreeing = held.sum(axis=1)
            off = np.where(held, apart[every, np.arange(size)[None], place], 0).sum(axis=1)
            # pictures without a counterpart count as half wrong, strangers as all
            cost = (off + 0.25 * (used.sum(axis=1) - agreeing)) / np.maximum(used.sum(axis=1), 1)
            cost = np.where(agreeing >= 1, cost, np.inf)
            better = cost < best - 1e-9
            best[better], match[better], inside[better] = cost[better], place[better], held[better]
    return match, inside


def _moving_alike(
    first: np.ndarray, second: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation over time of the two clips' slow waves, each without its mean over time."""
    weight = inside[:, :, None].astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    moves = []
    for each in (first, second):
        values = each[:, :, 1:].astype(np.float32) * STEP
        moves.append((values - (values * weight).sum(axis=1, keepdims=True) / count) * weight)
    dot = (moves[0] * moves[1]).sum(axis=(1, 2))
    power = [np.maximum((each**2).sum(axis=(1, 2)), 1e-9) for each in moves]
    alive = np.sqrt(np.maximum(*power) / (count[:, 0, 0] * moves[0].shape[2]))
    return dot / np.sqrt(power[0] * power[1]), alive
