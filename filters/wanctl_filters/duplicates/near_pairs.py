"""Finds pairs of clips that have a nearly equal frame, without comparing all with all.

Locality-sensitive hashing: signs that agree in one of several fixed subsets are adjacent in a
sorted list. Only the few frames with the lowest keys of each clip are listed (min-hashing: a
shared frame has a low key in both). Many equal keys (a title card that a thousand clips begin
with) are linked in a chain, not pair by pair.
"""

import numpy as np

from wanctl_filters.duplicates.frame_hash import MIRROR, band_masks

BANDS, AMONG = 16, 40
FEWEST, MOST = 18, 30
"""Bounds of the number of signs in a key: enough to separate the entries of a list, and no more,
as each further sign may differ between copies."""
EACH = 6  # frames of a clip in one list
MAX_APART = 0.36
_REACH = 6  # neighbours within a run of equal keys
_BLOCK = 2**12  # clips whose keys are computed together
_ODD = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93],
    dtype=np.uint64,
)


def near_pairs(signs: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(K, 5) int64: first clip, second clip, 1 where one of them is mirrored, the view of each.

    Sorted and unique.

    Args:
        signs: (P, V, 4) uint64 of all frames in all views; zero for flat views, which are ignored.
        starts: (N + 1,) index of each clip's first frame.
    """
    views = signs.shape[1]
    flat, edges = signs.reshape(-1, signs.shape[-1]), starts * views
    entries = EACH * len(edges)
    bits = min(MOST, max(FEWEST, entries.bit_length() + 2))
    lists = _lists(flat, edges, band_masks(BANDS, bits, AMONG))
    packed = np.unique(np.concatenate([_pairs(flat, edges, views, *each) for each in lists]))
    return np.stack(np.unravel_index(packed, _shape(len(starts), views)), axis=1).astype(np.int64)


def _pairs(
    signs: np.ndarray, edges: np.ndarray, views: int, key: np.ndarray, place: np.ndarray
) -> np.ndarray:
    """Near pairs of one list, each packed into a number."""
    # key and place are sorted as one number, which is much faster than an indirect sort
    width = np.uint64(max(1, len(key).bit_length()))
    entries = np.sort(key >> width << width | np.arange(len(key), dtype=np.uint64))
    place = place[(entries & ((np.uint64(1) << width) - np.uint64(1))).astype(np.int64)]
    key = entries >> width
    pairs = [np.zeros(0, np.int64)]
    for step in range(1, min(_REACH, len(key) - 1) + 1):
        at = np.flatnonzero(key[:-step] == key[step:])
        low = np.minimum(place[at], place[at + step])
        high = np.maximum(place[at], place[at + step])
        pairs.append(_near(signs, edges, views, low, high))
    return np.unique(np.concatenate(pairs))


def _lists(
    signs: np.ndarray, edges: np.ndarray, masks: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each mask, keys and their places; computed in blocks that fit the CPU cache."""
    keys = [[np.zeros(0, np.uint64)] for _ in masks]
    places = [[np.zeros(0, np.int64)] for _ in masks]
    for block in range(0, len(edges) - 1, _BLOCK):
        own = edges[block : block + _BLOCK + 1]
        part = signs[own[0] : own[-1]]
        words = np.ascontiguousarray(part.T)
        clip = np.repeat(np.arange(len(own) - 1, dtype=np.uint64), np.diff(own))
        textured = np.flatnonzero(part.any(axis=1))
        for mask, key_, place in zip(masks, keys, places, strict=True):
            key = _key(words, mask)
            picked = _lowest(key, clip, textured)
            key_.append(key[picked])
            place.append(picked + own[0])
    return [
        (np.concatenate(key), np.concatenate(place))
        for key, place in zip(keys, places, strict=True)
    ]


def _near(
    signs: np.ndarray, edges: np.ndarray, views: int, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Of frames that share a key, the pairs that are near in all signs, mirrored or not."""
    first, second = (np.searchsorted(edges, each, side="right") - 1 for each in (low, high))
    others = first != second
    low, high, first, second = low[others], high[others], first[others], second[others]
    differ = signs[low] ^ signs[high]
    straight = np.bitwise_count(differ).sum(axis=1, dtype=np.int64)
    turned = np.bitwise_count(differ ^ MIRROR).sum(axis=1, dtype=np.int64)
    near = np.minimum(straight, turned) <= MAX_APART * 255
    low, high, mirrored = low[near], high[near], (turned < straight)[near].astype(np.int64)
    packed = (first[near], second[near], mirrored, low % views, high % views)
    return np.ravel_multi_index(packed, _shape(len(edges), views))


def _shape(count: int, views: int) -> tuple[int, ...]:
    return count, count, 2, views, views


def _lowest(key: np.ndarray, clip: np.ndarray, textured: np.ndarray) -> np.ndarray:
    """Places of the EACH lowest different keys of every clip, among the textured places."""
    bits = np.uint64(max(1, len(key).bit_length()))
    top = np.uint64(64 - max(1, _BLOCK.bit_length()))
    high = key[textured] >> (np.uint64(64) - top + bits) << bits
    entries = np.sort(clip[textured] << top | high | textured.astype(np.uint64))
    value, owner = entries >> bits, entries >> top
    new = np.ones(len(entries), dtype=bool)
    new[1:] = value[1:] != value[:-1]
    rank = np.cumsum(new)
    first = np.ones(len(entries), dtype=bool)
    first[1:] = owner[1:] != owner[:-1]
    base = rank[np.maximum.accumulate(np.where(first, np.arange(len(entries)), 0))]
    chosen = entries[new & (rank - base < EACH)]
    return (chosen & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)


def _key(words: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(F,) uint64 hash of the masked signs, (4, F); multiplication mixes the words."""
    mixed = np.zeros(words.shape[1], dtype=np.uint64)
    for word in np.flatnonzero(mask):
        mixed ^= (words[word] & mask[word]) * _ODD[word]
        mixed ^= mixed >> np.uint64(29)
        mixed *= _ODD[(word + 1) % 4]
    return mixed ^ mixed >> np.uint64(32)
