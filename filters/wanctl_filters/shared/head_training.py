"""Fits heads to labels and measures them on held-out sources."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wanctl_filters.shared.heads import Head, Inputs, standardiser

FOLDS = 5
SEED = 0
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)
HIDDEN = 16
LEAST = 20  # labels

Fit = Callable[[np.ndarray, np.ndarray], tuple[tuple[np.ndarray, np.ndarray], ...]]


def fold_of(sources: Sequence[str], ids: Sequence[str], seed: int = SEED) -> np.ndarray:
    """(N,) fold of each clip, 0 to 4; clips of one source share a fold, because they are similar.

    Where there are too few sources for that, folds are assigned by clip id.
    """
    groups = np.asarray(sources if len(set(sources)) >= FOLDS else ids)
    names, inverse = np.unique(groups, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    return folds[inverse.reshape(-1)]


def correlations(predictions: np.ndarray, marks: np.ndarray) -> tuple[float, float]:
    """Spearman's and Pearson's correlation; 0 where one side is constant."""
    from scipy.stats import rankdata

    if np.ptp(predictions) == 0 or np.ptp(marks) == 0:
        return 0.0, 0.0
    srcc = np.corrcoef(rankdata(predictions), rankdata(marks))[0, 1]
    return float(srcc), float(np.corrcoef(predictions, marks)[0, 1])


def fit_regression(
    inputs: Inputs, vectors: np.ndarray, scores: np.ndarray, marks: np.ndarray, folds: np.ndarray
) -> Head:
    """Fit ridge regression or one hidden layer, whichever ranks held-out sources better, to all.

    Args:
        inputs: the sources of the features.
        vectors: (N, D) embeddings.
        scores: (N, F) scores of filters; NaN where a filter has none.
        marks: (N,) labels by people.
        folds: (N,) from `fold_of`.
    """
    features = np.concatenate([vectors, scores], axis=1)
    build = _builder(inputs, vectors, scores)
    candidates: dict[str, Fit] = {
        f"ridge {alpha:g}": lambda x, y, a=alpha: _ridge(x, y, a) for alpha in ALPHAS
    }
    candidates[f"one hidden layer of {HIDDEN}"] = _hidden
    figures = {
        name: correlations(_held_out(build, fit, features, marks, folds)[:, 0], marks)
        for name, fit in candidates.items()
    }
    best = max(figures, key=lambda name: figures[name][0])
    srcc, plcc = figures[best]
    about = {"model": best, "labels": len(marks), "srcc": round(srcc, 4), "plcc": round(plcc, 4)}
    return build(features, candidates[best](_whitened(build, features), marks), about)


def fit_classes(
    inputs: Inputs,
    vectors: np.ndarray,
    marks: np.ndarray,
    classes: Sequence[str],
    folds: np.ndarray,
) -> Head:
    """Fit logistic regression with the penalty that has the lowest log loss on held-out clips.

    Two classes give one output, the log-odds of the second; more give one output each.

    Args:
        inputs: the sources of the features.
        vectors: (N, D) embeddings.
        marks: (N,) indices into `classes`.
        classes: their names.
        folds: (N,) from `fold_of`.
    """
    build = _builder(inputs, vectors, np.zeros((len(vectors), 0)), tuple(classes))
    losses = {}
    for alpha in ALPHAS:
        outputs = _held_out(build, _logistic(alpha, len(classes)), vectors, marks, folds)
        losses[alpha] = _log_loss(outputs, marks)
    best = min(losses, key=lambda alpha: losses[alpha])
    outputs = _held_out(build, _logistic(best, len(classes)), vectors, marks, folds)
    predicted = (outputs[:, 0] > 0).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    about = {
        "model": f"logistic, penalty {best:g}",
        "labels": len(marks),
        "accuracy": round(float((predicted == marks).mean()), 4),
    }
    if len(classes) == 2:
        from sklearn.metrics import average_precision_score

        about["average_precision"] = round(float(average_precision_score(marks, outputs[:, 0])), 4)
    layers = _logistic(best, len(classes))(_whitened(build, vectors), marks)
    return build(vectors, layers, about)


def _builder(
    inputs: Inputs, vectors: np.ndarray, scores: np.ndarray, classes: tuple[str, ...] = ()
) -> Callable[..., Head]:
    mean, scale = standardiser(vectors, scores)
    return lambda _, layers, about=None: Head(inputs, mean, scale, layers, classes, about or {})


def _whitened(build: Callable[..., Head], features: np.ndarray) -> np.ndarray:
    return build(features, ())(features)


def _held_out(
    build: Callable[..., Head], fit: Fit, features: np.ndarray, marks: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """(N, K) outputs for each clip of the model that was fitted without its fold."""
    inputs = _whitened(build, features)
    outputs: np.ndarray | None = None
    for fold in np.unique(folds):
        seen = folds != fold
        predictions = build(features, fit(inputs[seen], marks[seen]))(features[~seen])
        if outputs is None:
            outputs = np.zeros((len(marks), predictions.shape[1]))
        outputs[~seen] = predictions
    assert outputs is not None
    return outputs


def _ridge(x: np.ndarray, y: np.ndarray, alpha: float) -> Any:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=alpha, solver="svd").fit(x, y)
    return ((model.coef_.reshape(-1, 1), np.reshape(model.intercept_, (1,))),)


def _hidden(x: np.ndarray, y: np.ndarray) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    # lbfgs suits the few hundred labels that a person writes, and is deterministic
    model = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), solver="lbfgs", alpha=10.0, max_iter=100, random_state=SEED
    )
    with warnings.catch_warnings():
        # stopping early is intended: it prevents overfitting to single clips
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    return tuple(zip(model.coefs_, model.intercepts_, strict=True))


def _logistic(alpha: float, classes: int) -> Fit:
    def fit(x: np.ndarray, y: np.ndarray) -> Any:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1 / alpha, max_iter=2000).fit(x, y)
        if classes == 2:
            return ((model.coef_.T, model.intercept_),)
        # a class that these folds lack gets a low bias, so that it is never the most probable
        weight, bias = np.zeros((x.shape[1], classes)), np.full(classes, -1e3)
        coefficients, offsets = model.coef_, model.intercept_
        if len(model.classes_) == 2:
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            offsets = np.concatenate([-offsets, offsets]) / 2
        weight[:, model.classes_], bias[model.classes_] = coefficients.T, offsets
        return ((weight, bias),)

    return fit


def _log_loss(outputs: np.ndarray, marks: np.ndarray) -> float:
    if outputs.shape[1] == 1:
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    peak = outputs.max(axis=1)
    total = peak + np.log(np.exp(outputs - peak[:, None]).sum(axis=1))
    return float((total - outputs[np.arange(len(marks)), marks]).mean())
