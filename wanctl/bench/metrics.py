"""Evaluation metrics: precision, recall, F1, AP, IoU, boundary matching, correlations."""

from collections.abc import Hashable, Sequence

import numpy as np

Interval = tuple[int, int]


def f1(true: int, false: int, missed: int) -> float:
    """Harmonic mean of precision and recall; 1 where there are no positives and no detections."""
    return 2 * true / (2 * true + false + missed) if true + false + missed else 1.0


def precision_recall(
    truth: Sequence[bool], scores: Sequence[float]
) -> list[tuple[float, float, float]]:
    """(threshold, precision, recall) at every distinct score, from the strictest down.

    A clip counts as positive at thresholds up to its score, so equal scores are one point.
    """
    truth_, scores_ = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=float)
    if not truth_.any():
        raise ValueError("precision and recall need at least one positive")
    order = np.argsort(-scores_, kind="stable")
    truth_, scores_ = truth_[order], scores_[order]
    last = np.append(np.flatnonzero(np.diff(scores_)), len(scores_) - 1)
    hits = np.cumsum(truth_)[last]
    return [
        (float(scores_[at]), float(hit / (at + 1)), float(hit / truth_.sum()))
        for at, hit in zip(last, hits, strict=True)
    ]


def average_precision(truth: Sequence[bool], scores: Sequence[float]) -> float:
    """Area under the precision-recall curve as steps, without interpolation."""
    return step_area([(p, r) for _, p, r in precision_recall(truth, scores)])


def step_area(curve: Sequence[tuple[float, float]]) -> float:
    """Area under (precision, recall) points in order of rising recall."""
    area, before = 0.0, 0.0
    for precision, recall in curve:
        area += (recall - before) * precision
        before = recall
    return area


def macro_f1(truth: Sequence[Hashable], predicted: Sequence[Hashable]) -> dict[Hashable, float]:
    """F1 of every class that occurs in `truth`; the macro-F1 is their mean."""
    pairs = list(zip(truth, predicted, strict=True))
    return {
        name: f1(
            sum(t == s == name for t, s in pairs),
            sum(s == name != t for t, s in pairs),
            sum(t == name != s for t, s in pairs),
        )
        for name in dict.fromkeys(truth)
    }


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes, each x, y, width, height."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, wide) * max(0.0, high)
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0.0


def match_intervals(
    truth: Sequence[Interval], detected: Sequence[Interval], tolerance: int
) -> list[tuple[int, int]]:
    """One-to-one pairs (index of truth, index of detected) of intervals that touch.

    As TRECVID counts shot boundaries: greedy in order of time, each side used once. Both ends
    are inclusive; intervals up to `tolerance` apart touch.
    """
    pairs: list[tuple[int, int]] = []
    free = sorted(range(len(detected)), key=lambda index: detected[index])
    for at, (first, last) in sorted(enumerate(truth), key=lambda item: item[1]):
        for index in free:
            a, b = detected[index]
            if a <= last + tolerance and first <= b + tolerance:
                pairs.append((at, index))
                free.remove(index)
                break
    return pairs


def recall_by_dose(doses: Sequence[float], hits: Sequence[bool]) -> list[tuple[float, float, int]]:
    """(dose, recall, number of decisions) for every dose, in rising order."""
    doses_, hits_ = np.asarray(doses, dtype=float), np.asarray(hits, dtype=bool)
    return [
        (float(dose), float(hits_[doses_ == dose].mean()), int((doses_ == dose).sum()))
        for dose in np.unique(doses_)
    ]


def half_dose(curve: Sequence[tuple[float, float, int]]) -> float | None:
    """The dose at which recall crosses one half; None where it never does.

    Noise is smoothed away by the closest monotone curve, rising or falling, whichever fits
    better; between two doses the curve is taken as straight.
    """
    doses = np.array([dose for dose, _, _ in curve])
    recall = np.array([share for _, share, _ in curve])
    weight = np.array([count for _, _, count in curve], dtype=float)
    rising, falling = _monotone(recall, weight), -_monotone(-recall, weight)
    errors = [float((weight * (fit - recall) ** 2).sum()) for fit in (rising, falling)]
    fit = rising if errors[0] <= errors[1] else falling
    above = fit >= 0.5
    if above.all() or not above.any():
        return None
    right = int(np.flatnonzero(above != above[0])[0])
    left = right - 1
    share = (0.5 - fit[left]) / (fit[right] - fit[left])
    return float(doses[left] + share * (doses[right] - doses[left]))


def _monotone(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The closest rising sequence in weighted squares: neighbours out of order are pooled."""
    pools: list[list[float]] = []  # value, weight, length
    for value, mass in zip(values, weight, strict=True):
        pools.append([float(value), float(mass), 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            v, w, n = pools.pop()
            u, m, k = pools.pop()
            pools.append([(v * w + u * m) / (w + m), w + m, n + k])
    return np.concatenate([np.full(int(n), v) for v, _, n in pools])


def srcc(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation; ties share their mean rank."""
    return plcc(_ranks(one), _ranks(other))


def plcc(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's linear correlation; NaN where one side is constant."""
    a, b = (np.asarray(side, dtype=float) - np.mean(side) for side in (one, other))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else float("nan")


def _ranks(values: Sequence[float]) -> list[float]:
    _, inverse, counts = np.unique(
        np.asarray(values, dtype=float), return_inverse=True, return_counts=True
    )
    upto = np.cumsum(counts)
    return [float(upto[group] - (counts[group] - 1) / 2) for group in inverse]
