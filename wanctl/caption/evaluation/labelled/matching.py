"""Compares a captioner's values of one dimension with the expected ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from wanctl.caption.evaluation.labelled.labels import (
    ENUMS,
    OPEN,
    PAIRS,
    SINGLE,
    Alternatives,
    LabelledClip,
)
from wanctl.caption.evaluation.labelled.similarity import THRESHOLD, PhraseSimilarity
from wanctl.caption.evaluation.labelled.words import (
    colors,
    count_of,
    edit_similarity,
    normal,
    singular,
    without_colors,
    words,
)

OCR_THRESHOLD = 0.8
"""Of ten characters two may be wrong; recognisers confuse that many in small print."""
_PAIR_VALUE = {"object_color": "color", "object_counting": "count"}


@dataclass(frozen=True)
class Counts:
    """Counts of one dimension; they add up over clips.

    The protocol is that of CAPability (arXiv 2502.14914, its published evaluation): each expected
    value is named rightly, named wrongly, or not named.

    Attributes:
        expected: labelled values.
        right: of these, the ones that the captioner names rightly.
        hit: of these, the ones about which it says anything, right or wrong.
        answered: answers that are judged: the hits, and where the labels list everything that
            there is also each answer too many.
    """

    expected: int = 0
    right: int = 0
    hit: int = 0
    answered: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.expected + other.expected, self.right + other.right, self.hit + other.hit,
            self.answered + other.answered,
        )  # fmt: skip

    @property
    def precision(self) -> float:
        """Share of the answers that are right; 0 where there is no answer."""
        return self.right / self.answered if self.answered else 0.0

    @property
    def recall(self) -> float:
        """Share of the expected values that are named rightly."""
        return self.right / self.expected if self.expected else 0.0

    @property
    def hit_rate(self) -> float:
        """Share of the expected values about which anything is said."""
        return self.hit / self.expected if self.expected else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.answered + self.expected
        return 2 * self.right / total if total else 0.0


class Matcher:
    """Matches values of one meaning; phrases are compared by `PhraseSimilarity`."""

    def __init__(self, similarity: PhraseSimilarity) -> None:
        self._similarity = similarity

    def count(self, label: LabelledClip, structure: Mapping[str, Any] | None) -> dict[str, Counts]:
        """Counts of each labelled dimension of a clip.

        Args:
            label: what the clip shows.
            structure: fields as in `FIELDS`, some may be missing; None: the captioner has nothing.
        """
        given = structure or {}
        return {
            dimension: self._pairs(dimension, label.pairs[dimension], given.get(dimension) or [])
            if dimension in PAIRS
            else self._values(
                dimension,
                label.values[dimension],
                values_of(dimension, given),
                listed=dimension not in label.partial and dimension not in SINGLE,
            )
            for dimension in label.dimensions
        }

    def same(self, dimension: str, expected: str, given: str) -> float:
        """How much two values are the same, 0 to 1; 0 where they are not.

        Enumerations are compared exactly, read text by edit distance, the rest by meaning.
        """
        if dimension in ENUMS:
            return float(expected == given)
        if dimension == "ocr_text":
            likeness = edit_similarity(expected, given)
            return likeness if likeness >= OCR_THRESHOLD else 0.0
        if normal(expected) == normal(given):
            return 1.0
        if dimension == "object_category":  # "puppies" is farther from "dog" than "puppy" is
            expected, given = (
                " ".join(map(singular, words(each))) or each for each in (expected, given)
            )
        likeness = self._similarity.of(expected, given)
        return likeness if likeness >= THRESHOLD else 0.0

    def pair_objects(self, first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
        """Pairs of indices of objects that are the same; colours in their names do not count."""
        plain = [[without_colors(each) for each in several] for several in (first, second)]
        return self.pair("object_category", plain[0], plain[1])

    def pair(
        self, dimension: str, first: Sequence[str], second: Sequence[str]
    ) -> list[tuple[int, int]]:
        """Pairs of indices of values that are the same."""
        return _assign([[self.same(dimension, a, b) for b in second] for a in first])

    def _values(
        self, dimension: str, expected: Sequence[Alternatives], given: list[str], *, listed: bool
    ) -> Counts:
        pairs = _assign(
            [[max(self.same(dimension, one, b) for one in a) for b in given] for a in expected]
        )
        right = len(pairs)
        if listed:
            return Counts(len(expected), right, min(len(expected), len(given)), len(given))
        hit = len(expected) if given else 0
        return Counts(len(expected), right, hit, hit)

    def _pairs(
        self, dimension: str, expected: Mapping[str, Alternatives], given: Sequence[Mapping]
    ) -> Counts:
        pairs = self.pair_objects([*expected], [each["object"] for each in given])
        wanted, key = [*expected.values()], _PAIR_VALUE[dimension]
        right = sum(
            any(_same_value(dimension, one, str(given[b][key])) for one in wanted[a])
            for a, b in pairs
        )
        return Counts(len(expected), right, len(pairs), len(pairs))


def values_of(dimension: str, structure: Mapping[str, Any]) -> list[str]:
    """The values that a structure has in a dimension; those that say nothing are left out."""
    value = structure.get(dimension) or []
    several = [value] if isinstance(value, str) else value
    return [each for each in dict.fromkeys(several) if each.strip().casefold() != OPEN]


def _same_value(dimension: str, expected: str, given: str) -> bool:
    if dimension == "object_counting":
        return count_of(expected) == count_of(given)
    basic = colors(expected)
    if not basic:
        return normal(expected) == normal(given)
    return basic <= colors(given)


def _assign(likeness: list[list[float]]) -> list[tuple[int, int]]:
    """The one-to-one assignment of the largest sum; pairs of likeness 0 are left out."""
    if not likeness or not likeness[0]:
        return []
    matrix = np.asarray(likeness)
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    return [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if matrix[a, b] > 0]
