"""Groups of rows that pairs link, and pairs from overlapping time ranges and from vectors."""

import numpy as np

_PLANES, _TABLES, _REACH = 20, 6, 8


def groups_of(count: int, pairs: np.ndarray) -> np.ndarray:
    """(count,) the lowest row of each row's connected component.

    Args:
        count: number of rows.
        pairs: (K, 2) int.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, part = connected_components(links, directed=False)
    lowest = np.full(count, count)
    np.minimum.at(lowest, part, np.arange(count))
    return lowest[part]


def overlapping(
    content: np.ndarray, start_s: np.ndarray, end_s: np.ndarray, *, share: float
) -> np.ndarray:
    """(K, 2) rows of the same file whose time ranges share at least `share` of the shorter one."""
    order = np.lexsort((end_s, start_s, content.astype(str)))
    pairs = []
    step = 1
    while step < len(order):
        first, second = order[:-step], order[step:]
        near = (content[first] == content[second]) & (content[first] != "")
        near &= start_s[second] < end_s[first]
        if not near.any():
            break
        common = np.minimum(end_s[first], end_s[second]) - start_s[second]
        shorter = np.minimum(end_s[first] - start_s[first], end_s[second] - start_s[second])
        similar = near & (common >= share * shorter)
        pairs.append(np.stack([first[similar], second[similar]], axis=1))
        step += 1
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def vector_pairs(vectors: np.ndarray, min_cosine: float) -> np.ndarray:
    """(K, 2) rows of (N, D) unit vectors whose cosine is at least `min_cosine`; nearly all.

    Random-projection hashing: vectors on the same side of twenty random planes are adjacent in a
    sorted list; six such lists are searched.
    """
    rng = np.random.default_rng(14)
    centred = vectors - vectors.mean(axis=0, keepdims=True)
    powers = 1 << np.arange(_PLANES)
    pairs = []
    for _ in range(_TABLES):
        planes = rng.normal(0, 1, (vectors.shape[1], _PLANES)).astype(np.float32)
        key = (centred @ planes > 0) @ powers
        order = np.argsort(key, kind="stable")
        for step in range(1, min(_REACH, len(order) - 1) + 1):
            first, second = order[:-step], order[step:]
            same = key[first] == key[second]
            first, second = first[same], second[same]
            cosine = np.einsum("ij,ij->i", vectors[first], vectors[second])
            near = cosine >= min_cosine
            pairs.append(np.stack([first[near], second[near]], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)
