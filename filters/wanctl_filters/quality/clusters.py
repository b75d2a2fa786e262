"""Spherical mini-batch k-means, independent of the order of the clips."""

from collections.abc import Iterable

import numpy as np

SAMPLE_ROWS = 65536
BATCH_ROWS = 4096
EPOCHS = 12
# With fewer clips per cluster on average, a cluster is a film rather than a kind of content.
CLIPS_PER_CLUSTER = 10


def even_sample(names: np.ndarray, most: int = SAMPLE_ROWS) -> np.ndarray:
    """Rows to cluster, spread evenly over the sorted names, so that row order does not matter."""
    order = np.argsort(names, kind="stable")
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).astype(np.int64)]


def spherical_kmeans(units: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """(K, D) unit centres of (N, D) unit vectors; the largest cluster comes first.

    Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data", 2001, with the
    mini-batches of Sculley, "Web-Scale K-Means Clustering", 2010.

    Args:
        units: float32.
        most: number of clusters; fewer where clusters would have fewer than ten members.
        seed: of the initial centres.
    """
    from sklearn.cluster import kmeans_plusplus

    count = min(most, max(1, len(units) // CLIPS_PER_CLUSTER))
    rng = np.random.default_rng(seed)
    centres, _ = kmeans_plusplus(units, count, random_state=seed)
    sums = np.zeros((count, units.shape[1]), dtype=np.float64)
    for _ in range(EPOCHS):
        sums *= 0.5  # later epochs, with better centres, weigh more
        for rows in np.array_split(rng.permutation(len(units)), -(-len(units) // BATCH_ROWS)):
            batch = units[rows]
            np.add.at(sums, nearest(centres, batch), batch)
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            # a centre without members stays where it is
            moved = sums / np.maximum(lengths, 1e-12)
            centres = np.where(lengths > 1e-9, moved, centres).astype(np.float32)
    sizes = np.bincount(nearest(centres, units), minlength=count)
    return centres[np.argsort(-sizes, kind="stable")]


def nearest(centres: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(N,) index of the centre with the largest cosine."""
    return np.argmax(units @ centres.T, axis=1)


def assign(
    centres: np.ndarray, chunks: Iterable[tuple[slice, np.ndarray]], count: int
) -> np.ndarray:
    """(count,) cluster of every clip; -1 for clips without a vector."""
    clusters = np.full(count, -1)
    for rows, units in chunks:
        present = units.any(axis=1)
        clusters[rows] = np.where(present, nearest(centres, units), -1) if present.any() else -1
    return clusters


def ranks_within(groups: np.ndarray, score: np.ndarray, names: np.ndarray) -> np.ndarray:
    """(N,) rank of each row in its group, 0 for the highest score; names break ties.

    Rows without a score come last.
    """
    filled = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((names, -filled, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][:1] - 1))
    sizes = np.diff(np.append(starts, len(order)))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks
