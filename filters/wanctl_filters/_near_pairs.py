"""Finds pairs of clips that have a picture nearly in common, without comparing all with all.

Signs that agree in one of several fixed subsets meet in a sorted list. A crowd of equal keys (a
title card that a thousand clips begin with) is linked in a chain, not pair by pair.
"""

import numpy as np

from wanctl_filters._picture_hash import MIRROR, band_words

BANDS, BITS = 10, 28
_REACH = 6  # neighbours within a run of equal keys


def near_pairs(signs: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """(K, 3) int64: first clip, second clip, 1 where one of them is mirrored; sorted, unique.

    Args:
        signs: (F, 4) uint64 of all pictures worth comparing.
        clip: (F,) the number of each one's clip, rising.
    """
    found = [_pairs(signs, clip, mask) for mask in band_words(BANDS, BITS)]
    packed = np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)
    first, rest = packed >> np.uint64(33), packed & np.uint64(2**33 - 1)
    return np.stack([first, rest >> np.uint64(1), rest & np.uint64(1)], axis=1).astype(np.int64)


def _pairs(signs: np.ndarray, clip: np.ndarray, mask: np.ndarray) -> np.ndarray:
    keys = [_key(signs ^ turn, mask) for turn in (np.zeros_like(MIRROR), MIRROR)]
    # 40 bits of key, 24 of ... would cut keys short: sort by key, then look the rest up
    entries = [_once_per_clip(key, clip) for key in keys]
    key = np.concatenate([entry[0] for entry in entries])
    owner = np.concatenate([entry[1] for entry in entries])
    turned = np.repeat(np.array([0, 1]), [len(entry[0]) for entry in entries])
    order = np.argsort(key, kind="stable")
    key, owner, turned = key[order], owner[order], turned[order]
    found = []
    for step in range(1, _REACH + 1):
        same = key[:-step] == key[step:]
        # two mirrored pictures meet as originals too
        same &= (owner[:-step] != owner[step:]) & (turned[:-step] + turned[step:] < 2)
        at = np.flatnonzero(same)
        low = np.minimum(owner[at], owner[at + step]).astype(np.uint64)
        high = np.maximum(owner[at], owner[at + step]).astype(np.uint64)
        mirrored = (turned[at] | turned[at + step]).astype(np.uint64)
        found.append(low << np.uint64(33) | high << np.uint64(1) | mirrored)
    return np.unique(np.concatenate(found))


def _key(signs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(F,) uint64 that is equal where the masked signs are; multiplication mixes the words."""
    mixed = np.zeros(len(signs), dtype=np.uint64)
    odd = np.array(
        [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93],
        dtype=np.uint64,
    )
    for word in range(signs.shape[1]):
        mixed ^= (signs[:, word] & mask[word]) * odd[word]
        mixed ^= mixed >> np.uint64(29)
        mixed *= odd[(word + 1) % 4]
    return mixed


def _once_per_clip(key: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A clip that stands still gives one entry, not one per picture."""
    new = np.ones(len(key), dtype=bool)
    new[1:] = (key[1:] != key[:-1]) | (clip[1:] != clip[:-1])
    return key[new], clip[new]
