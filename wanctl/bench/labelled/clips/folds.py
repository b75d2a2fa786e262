"""Five-fold figures: thresholds are set on four folds of the sources and judged on the fifth."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors.numpy import save_file

from wanctl.bench.labelled.clips.decided import DecidedFiles
from wanctl.bench.labelled.clips.labels import ClipLabels
from wanctl.bench.labelled.clips.measures import (
    MOTION_FILTER,
    QUALITY_FILTER,
    Measure,
    longest,
    merged_tier,
)
from wanctl.bench.metrics import f1, macro_f1, srcc
from wanctl.curate.select.decisions import take_rows
from wanctl.errors import UserError
from wanctl.log import log

FOLDS = 5
SEED = 0

T = TypeVar("T")
Answers = Mapping[str, T]
"""File -> what a filter says of it."""


def fold_of(labels: Sequence[ClipLabels]) -> dict[str, int]:
    """File -> fold, 0 to 4; files of one group share a fold."""
    groups = sorted({each.group for each in labels})
    order = np.random.default_rng(SEED).permutation(len(groups)) % FOLDS
    folds = dict(zip(groups, order.tolist(), strict=True))
    return {each.file: folds[each.group] for each in labels}


def counts(truth: Mapping[str, bool], fired: Answers[bool]) -> tuple[int, int, int]:
    """(right, wrong, missed) over the files of `truth`."""
    right = sum(fired[file] for file, true in truth.items() if true)
    return (
        right,
        sum(fired[file] for file, true in truth.items() if not true),
        sum(truth.values()) - right,
    )


def answers(decided: DecidedFiles, measure: Measure, files: Sequence[str]) -> list[Answers[bool]]:
    """Whether each file is found, for every variant of the filter; the recipe's own comes first."""
    every = [decided.decide(variant) for variant in decided.variants(measure.filter)]
    return [
        {file: any(map(measure.fired, decided.of_file(file, each))) for file in files}
        for each in every
    ]


def tiers(decided: DecidedFiles, files: Sequence[str]) -> list[Answers[str | None]]:
    """The tier of motion of each file's longest clip, for every variant of the filter."""
    every = [decided.decide(variant) for variant in decided.variants(MOTION_FILTER)]
    return [
        {file: merged_tier(longest(decided.of_file(file, each)).verdict.label) for file in files}
        for each in every
    ]


def held_out(
    variants: Sequence[Answers[T]],
    folds: Mapping[str, int],
    goodness: Callable[[Answers[T]], float],
) -> dict[str, T]:
    """Each file's answer by the variant that is best on the files of the other folds.

    Args:
        variants: answers of each variant; among equals the first wins.
        folds: of the files that count.
        goodness: of answers on some files.
    """
    result: dict[str, T] = {}
    for fold in range(FOLDS):
        train = [file for file, own in folds.items() if own != fold]
        best = max(variants, key=lambda each: goodness({file: each[file] for file in train}))
        result |= {file: best[file] for file, own in folds.items() if own == fold}
    return result


def goodness_of(truth: Mapping[str, bool]) -> Callable[[Answers[bool]], float]:
    """F1 on the files that are asked for."""
    return lambda fired: f1(*counts({file: truth[file] for file in fired}, fired))


def mean_f1(truth: Mapping[str, str]) -> Callable[[Answers[str | None]], float]:
    """Macro-F1 on the files that are asked for."""

    def goodness(predicted: Answers[str | None]) -> float:
        files = list(predicted)
        scores = macro_f1([truth[file] for file in files], [predicted[file] for file in files])
        return float(np.mean(list(scores.values())))

    return goodness


def quality_correlation(
    decided: DecidedFiles, marks: Mapping[str, float], folds: Mapping[str, int], folder: Path
) -> float | None:
    """Spearman's correlation of held-out scores with the marks; heads are fitted on four folds.

    None where the filter takes no marks or they are too few.

    Args:
        decided: the files.
        marks: file -> 1 to 5.
        folds: of the files.
        folder: for the heads.
    """
    named = decided.filters[QUALITY_FILTER]
    batch = decided.batch(QUALITY_FILTER)
    rows = {file: decided.rows_of_file[file] for file in marks}
    predicted: dict[str, float] = {}
    for fold in range(FOLDS):
        train = [(row, f"{marks[f]:.0f}") for f in marks if folds[f] != fold for row in rows[f]]
        test = [file for file in marks if folds[file] == fold]
        chosen = take_rows(batch, np.array([row for row, _ in train], dtype=np.int64))
        try:
            trained = named.filter.train(chosen, [mark for _, mark in train])
        except (UserError, NotImplementedError) as error:
            log.warning("quality is not judged by folds: %s", error)
            return None
        path = folder / f"quality-{fold}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: np.asarray(v) for k, v in trained.tensors.items()}, path, dict(trained.metadata)
        )
        score = named.filter.model_copy(update={"head": str(path)}).decide_many(batch).score
        assert score is not None
        predicted |= {file: max(float(score[row]) for row in rows[file]) for file in test}
    return srcc([marks[file] for file in marks], [predicted[file] for file in marks])
