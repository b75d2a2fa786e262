"""Compares pairs of clips: hash distance of aligned frames, and correlation of their motion."""

from typing import NamedTuple

import numpy as np

from wanctl_filters.duplicates.alignment import ClipPairs, FrameHashes, align, bracketing_frames
from wanctl_filters.duplicates.frame_hash import MIRROR, MIRROR_COARSE, STEP

_CHUNK = 1024
# Frames are sampled some tenths of a second apart; those of a copy lie anywhere in between.
_SHIFTS = (0.0, -0.25, 0.25, -0.5, 0.5)


class Similarity(NamedTuple):
    """Similarity of K pairs of clips at the best alignment.

    Attributes:
        distance: (K,) share of signs that differ, 0 to 1.
        motion_correlation: (K,) correlation of the changes over time; 1 where both are still.
        motion_levels: (K,) RMS change over time of the one that changes more, in luma levels.
        overlap: (K,) share of the shorter clip's frames that have a counterpart.
    """

    distance: np.ndarray
    motion_correlation: np.ndarray
    motion_levels: np.ndarray
    overlap: np.ndarray


def compare(clips: FrameHashes, pairs: np.ndarray) -> Similarity:
    """Compare pairs, (K, 5): first clip, second clip, whether one is mirrored, the view of each."""
    parts = [
        _compare(clips, pairs[start : start + _CHUNK]) for start in range(0, len(pairs), _CHUNK)
    ]
    if not parts:
        none = np.zeros(0)
        return Similarity(none, none, none, none)
    return Similarity(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _compare(clips: FrameHashes, pairs: np.ndarray) -> Similarity:
    # the shorter clip comes first
    swap = clips.length_s[pairs[:, 0]] > clips.length_s[pairs[:, 1]]
    short, long = np.where(swap, pairs[:, [1, 0]].T, pairs[:, :2].T)
    view, other = np.where(swap, pairs[:, [4, 3]].T, pairs[:, 3:].T)
    mirrored = pairs[:, 2].astype(bool)[:, None, None]
    first, second = clips.table(short, view), clips.table(long, other)
    first = first._replace(
        signs=first.signs ^ np.where(mirrored, MIRROR, np.uint64(0)),
        coarse=first.coarse * np.where(mirrored, MIRROR_COARSE, np.int16(1)),
    )
    clip_pairs = ClipPairs(first, second)
    distance = _distances(first.signs, second.signs)
    distance = np.where(first.used[:, :, None] & second.used[:, None], distance, 1.0)
    rate, offset = align(clip_pairs, distance)
    best = _similarity(clip_pairs, distance, rate, offset)
    for shift in _SHIFTS[1:]:
        moved = _similarity(clip_pairs, distance, rate, offset + shift * second.step_s)
        better = (moved.motion_correlation > best.motion_correlation) & (
            moved.overlap >= best.overlap
        )
        best = Similarity(*(np.where(better, m, b) for m, b in zip(moved, best, strict=True)))
    return best


def _similarity(
    clip_pairs: ClipPairs, distance: np.ndarray, rate: np.ndarray, offset: np.ndarray
) -> Similarity:
    before, after, share, inside = bracketing_frames(clip_pairs, rate, offset)
    every = np.arange(len(rate))[:, None]
    places = np.arange(before.shape[1])[None]
    count = np.maximum(inside.sum(axis=1), 1)
    nearer = np.minimum(distance[every, places, before], distance[every, places, after])
    step = _sign_distance(clip_pairs.long.signs[every, before], clip_pairs.long.signs[every, after])
    nearer = np.maximum(nearer - step * np.minimum(share, 1 - share), 0)
    amplitudes = clip_pairs.long.coarse.astype(np.float32)
    share_ = share[:, :, None]
    counterpart = amplitudes[every, before] * (1 - share_) + amplitudes[every, after] * share_
    motion_correlation, motion_levels = _motion_correlation(
        clip_pairs.short.coarse.astype(np.float32), counterpart, inside
    )
    return Similarity(
        (nearer * inside).sum(axis=1) / count,
        motion_correlation,
        motion_levels,
        inside.sum(axis=1) / np.maximum(clip_pairs.short.used.sum(axis=1), 1),
    )


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K, F, G) share of signs that differ between all frames of two clips."""
    result = np.zeros((len(first), first.shape[1], second.shape[1]), dtype=np.uint16)
    for word in range(first.shape[2]):
        result += np.bitwise_count(first[:, :, None, word] ^ second[:, None, :, word])
    return result.astype(np.float32) / 255  # one of the 256 is always zero


def _sign_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K, F) share of signs that differ between corresponding frames."""
    return np.bitwise_count(first ^ second).sum(axis=2, dtype=np.float32) / 255


def _motion_correlation(
    first: np.ndarray, second: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of the clips' amplitudes, each minus its mean over time, and the RMS change."""
    weight = inside[:, :, None].astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    moves = []
    for each in (first, second):
        values = each[:, :, 1:] * STEP
        moves.append((values - (values * weight).sum(axis=1, keepdims=True) / count) * weight)
    dot = (moves[0] * moves[1]).sum(axis=(1, 2))
    power = [np.maximum((each**2).sum(axis=(1, 2)), 1e-9) for each in moves]
    motion_levels = np.sqrt(np.maximum(*power) / (count[:, 0, 0] * moves[0].shape[2]))
    return dot / np.sqrt(power[0] * power[1]), motion_levels
