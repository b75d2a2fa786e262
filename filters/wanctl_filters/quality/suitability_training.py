"""Fits the suitability head to few marks: known directions first, then what the marks add.

With fifty marks, free weights on forty features fit the footage and not the taste (held-out rank
correlation 0.21). So the head starts from directions that are known without marks, scaled to them,
and a ridge regression on the embedding explains the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from wanctl_filters.quality.suitability_features import DIRECTIONS
from wanctl_filters.shared.head_training import correlations, fold_of
from wanctl_filters.shared.heads import Head, Inputs, standardiser

LIMIT = 2.5  # standard deviations; one clip with much text must not decide about all others
EMBEDDING_WEIGHT = 2.0  # standard deviations of the embedding per those of a feature
REPEATS = 8  # assignments to folds; one alone varies by 0.05


@dataclass(frozen=True)
class Marked:
    """Clips with marks.

    Attributes:
        vectors: (N, D) embeddings.
        columns: (N, F) features; NaN where unknown.
        marks: (N,) labels by people.
        weights: (N,) of the clips; those of one source sum to 1.
    """

    vectors: np.ndarray
    columns: np.ndarray
    marks: np.ndarray
    weights: np.ndarray

    def take(self, rows: np.ndarray) -> "Marked":
        """Some of the clips."""
        return Marked(self.vectors[rows], self.columns[rows], self.marks[rows], self.weights[rows])


@dataclass(frozen=True)
class Penalty:
    """What nested folds choose between.

    Attributes:
        alpha: of the ridge regression.
        free: scale of the features in it; 0 leaves them to the known directions.
    """

    alpha: float
    free: float


CANDIDATES = tuple(Penalty(*each) for each in product((10.0, 30.0, 100.0), (0.0, 0.2)))


def fit_suitability(
    inputs: Inputs,
    vectors: np.ndarray,
    columns: np.ndarray,
    marks: np.ndarray,
    sources: Sequence[str],
    ids: Sequence[str],
) -> Head:
    """Fit a linear head, and measure it on held-out sources.

    The penalty is chosen inside the training folds (nested cross-validation), so that the figures
    in `Head.about` were selected on no clip that they count. They are means over eight assignments
    to five folds; `srcc` and `plcc` are those of the mean of a source's clips.

    Args:
        inputs: the embedding and the names of `columns`.
        vectors: (N, D) embeddings.
        columns: (N, F) features; NaN where unknown.
        marks: (N,) labels by people.
        sources: the source file of each clip.
        ids: of the clips.
    """
    names, group = np.unique(np.asarray(sources), return_inverse=True)
    group = group.reshape(-1)
    marked = Marked(vectors, columns, marks, 1.0 / np.bincount(group)[group])
    figures = []
    for repeat in range(REPEATS):
        folds = fold_of(sources, ids, seed=repeat)
        predicted = np.zeros(len(marks))
        for fold in np.unique(folds):
            train = folds != fold
            inner = fold_of(np.asarray(sources)[train].tolist(), np.asarray(ids)[train].tolist())
            penalty = _choose(inputs, marked.take(train), inner, group[train])
            head = _fit(inputs, marked.take(train), penalty)
            predicted[~train] = head.predict(vectors[~train], columns[~train])[:, 0]
        figures.append(_by_source(predicted, marks, group))
    srcc, plcc = np.mean(figures, axis=0)
    penalty = _choose(inputs, marked, fold_of(sources, ids), group)
    about = {
        "model": f"known directions and ridge {penalty.alpha:g}, features x {penalty.free:g}",
        "labels": len(marks),
        "sources": len(names),
        "srcc": round(float(srcc), 4),
        "plcc": round(float(plcc), 4),
        "srcc_deviation": round(float(np.std([each[0] for each in figures])), 4),
    }
    if not penalty.free:  # without a weight, a feature is no input
        kept = [index for index, name in enumerate(inputs.scores) if name in DIRECTIONS]
        inputs = replace(inputs, scores=tuple(inputs.scores[index] for index in kept))
        marked = replace(marked, columns=columns[:, kept])
    return _fit(inputs, marked, penalty, about)


def _choose(inputs: Inputs, marked: Marked, folds: np.ndarray, group: np.ndarray) -> Penalty:
    """The penalty with the best rank correlation on held-out sources of these clips."""

    def held_out(penalty: Penalty) -> float:
        predicted = np.zeros(len(marked.marks))
        for fold in np.unique(folds):
            train = folds != fold
            head = _fit(inputs, marked.take(train), penalty)
            predicted[~train] = head.predict(marked.vectors[~train], marked.columns[~train])[:, 0]
        return _by_source(predicted, marked.marks, group)[0]

    return max(CANDIDATES, key=held_out)


def _fit(inputs: Inputs, marked: Marked, penalty: Penalty, about: dict | None = None) -> Head:
    """Least squares on the known directions, then ridge regression on what they leave."""
    mean, scale = standardiser(marked.vectors, marked.columns)
    width = marked.vectors.shape[1]
    units = EMBEDDING_WEIGHT * (marked.vectors - mean[:width]) / scale[:width]
    known = np.array([DIRECTIONS.get(name, 0.0) for name in inputs.scores])
    columns = (marked.columns - mean[width:]) / scale[width:]
    columns = np.clip(np.where(np.isnan(columns), 0.0, columns), -LIMIT, LIMIT)
    weights = marked.weights / marked.weights.sum()
    direction = columns @ known
    direction_centre, mark_centre = weights @ direction, weights @ marked.marks
    spread = weights @ (direction - direction_centre) ** 2
    slope = weights @ ((direction - direction_centre) * (marked.marks - mark_centre))
    slope = max(slope / spread, 0.0) if spread > 0 else 0.0
    rest = marked.marks - mark_centre - slope * (direction - direction_centre)
    inside = np.concatenate([units, penalty.free * columns], axis=1)
    centre = weights @ inside
    # in the space of the clips, which are far fewer than the dimensions
    gram = (inside - centre) @ (inside - centre).T
    ridge = penalty.alpha * np.diag(1.0 / (weights * len(weights)))
    solved = (inside - centre).T @ np.linalg.solve(gram + ridge, rest)
    of_units, of_columns = EMBEDDING_WEIGHT * solved[:width], penalty.free * solved[width:]
    weight = np.concatenate([of_units, slope * known + of_columns])[:, None]
    bias = np.array([mark_centre - slope * direction_centre - centre @ solved])
    return Head(inputs, mean, scale, ((weight, bias),), about=about or {}, limit=LIMIT)


def _by_source(predicted: np.ndarray, marks: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Spearman's and Pearson's correlation of the means over the clips of each source."""
    counts = np.bincount(group)
    present = counts > 0
    means = [np.bincount(group, each)[present] / counts[present] for each in (predicted, marks)]
    return correlations(*means)
