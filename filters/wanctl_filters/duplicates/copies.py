"""Whether two clips are copies: their pictures agree in order, and so does what moves in them."""

from typing import NamedTuple

import numpy as np

from wanctl_filters.duplicates.alignment import Pictures, Sides, align, between
from wanctl_filters.duplicates.picture_hash import MIRROR, MIRROR_COARSE, STEP

_CHUNK = 1024
# Pictures are taken some tenths of a second apart, and a copy's moments lie anywhere in between.
_SHIFTS = (0.0, -0.25, 0.25, -0.5, 0.5)


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


def compare(clips: Pictures, pairs: np.ndarray) -> Likeness:
    """Likeness of pairs, (K, 5): first clip, second, whether one is mirrored, each one's view."""
    parts = [
        _compare(clips, pairs[start : start + _CHUNK]) for start in range(0, len(pairs), _CHUNK)
    ]
    if not parts:
        none = np.zeros(0)
        return Likeness(none, none, none, none)
    return Likeness(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _compare(clips: Pictures, pairs: np.ndarray) -> Likeness:
    # walk along the shorter one
    swap = clips.length_s[pairs[:, 0]] > clips.length_s[pairs[:, 1]]
    short, long = np.where(swap, pairs[:, [1, 0]].T, pairs[:, :2].T)
    view, other = np.where(swap, pairs[:, [4, 3]].T, pairs[:, 3:].T)
    turned = pairs[:, 2].astype(bool)[:, None, None]
    first, second = clips.table(short, view), clips.table(long, other)
    first = first._replace(
        signs=first.signs ^ np.where(turned, MIRROR, np.uint64(0)),
        coarse=first.coarse * np.where(turned, MIRROR_COARSE, np.int16(1)),
    )
    sides = Sides(first, second)
    apart = _distances(first.signs, second.signs)
    apart = np.where(first.used[:, :, None] & second.used[:, None], apart, 1.0)
    rate, offset = align(sides, apart)
    best = _likeness(sides, apart, rate, offset)
    for shift in _SHIFTS[1:]:
        moved = _likeness(sides, apart, rate, offset + shift * second.step_s)
        better = (moved.together > best.together) & (moved.overlap >= best.overlap)
        best = Likeness(*(np.where(better, m, b) for m, b in zip(moved, best, strict=True)))
    return best


def _likeness(sides: Sides, apart: np.ndarray, rate: np.ndarray, offset: np.ndarray) -> Likeness:
    before, after, share, inside = between(sides, rate, offset)
    every = np.arange(len(rate))[:, None]
    places = np.arange(before.shape[1])[None]
    count = np.maximum(inside.sum(axis=1), 1)
    nearer = np.minimum(apart[every, places, before], apart[every, places, after])
    step = _between(sides.long.signs[every, before], sides.long.signs[every, after])
    nearer = np.maximum(nearer - step * np.minimum(share, 1 - share), 0)
    waves = sides.long.coarse.astype(np.float32)
    there = waves[every, before] * (1 - share)[:, :, None] + waves[every, after] * share[:, :, None]
    together, alive = _moving_alike(sides.short.coarse.astype(np.float32), there, inside)
    return Likeness(
        (nearer * inside).sum(axis=1) / count,
        together,
        alive,
        inside.sum(axis=1) / np.maximum(sides.short.used.sum(axis=1), 1),
    )


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K, F, G) share of signs that differ."""
    result = np.zeros((len(first), first.shape[1], second.shape[1]), dtype=np.uint16)
    for word in range(first.shape[2]):
        result += np.bitwise_count(first[:, :, None, word] ^ second[:, None, :, word])
    return result.astype(np.float32) / 255  # one of the 256 is always zero


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K, F) share of signs that differ, place by place."""
    return np.bitwise_count(first ^ second).sum(axis=2, dtype=np.float32) / 255


def _moving_alike(
    first: np.ndarray, second: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation over time of the two clips' slow waves, each without its mean over time."""
    weight = inside[:, :, None].astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    moves = []
    for each in (first, second):
        values = each[:, :, 1:] * STEP
        moves.append((values - (values * weight).sum(axis=1, keepdims=True) / count) * weight)
    dot = (moves[0] * moves[1]).sum(axis=(1, 2))
    power = [np.maximum((each**2).sum(axis=(1, 2)), 1e-9) for each in moves]
    alive = np.sqrt(np.maximum(*power) / (count[:, 0, 0] * moves[0].shape[2]))
    return dot / np.sqrt(power[0] * power[1]), alive
