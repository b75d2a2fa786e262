"""Weights of clips by what the data set says of them: labels and scores of filters, columns.

A rule is a value with its factor: text is compared with a label or a column as a pattern (`*` and
`?`, as the shell has them), `>=5` and the like with a score or a number. Of the rules of one name
the first that fits counts; a clip that none fits keeps its weight.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Any

from wanctl.errors import UserError, unknown

_COMPARISON = re.compile(r"(<=|>=|<|>)\s*(-?[\d.]+(?:e-?\d+)?)")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_SHOWN = 8


class WeightsError(UserError):
    """A weight for something that no clip has."""


@dataclass(frozen=True)
class ClipWeights:
    """Factors of clips, and how they came about.

    Attributes:
        factors: one per clip.
        lines: per name, how many clips got which factor; for the log.
        unused: rules that fit no clip, with what there is; for a warning.
    """

    factors: Sequence[float]
    lines: Sequence[str]
    unused: Sequence[str]


def clip_weights(
    rows: Sequence[Mapping[str, Any]], rules: Mapping[str, Mapping[str, float]]
) -> ClipWeights:
    """The product of each clip's factors.

    Args:
        rows: of the clips, as `kept_clips` returns them.
        rules: filter or column -> value -> factor, e.g. `{motion: {high: 2, low: 0.5}}`.

    Raises:
        WeightsError: no clip has a label or score of that filter, or a column of that name.
    """
    factors = [1.0] * len(rows)
    lines, unused = [], []
    for name, values in rules.items():
        found = [_values(row, name) for row in rows]
        if not any(found):
            raise WeightsError(f"weights: {unknown('filter or column', name, _names(rows))}")
        fitting = [_first_fit(each, values) for each in found]
        counts = {value: fitting.count(value) for value in values}
        for index, value in enumerate(fitting):
            factors[index] *= 1.0 if value is None else values[value]
        shown = [f"{value} x{values[value]:g}: {n} clips" for value, n in counts.items()]
        lines.append(
            f"weights by {name}: {', '.join([*shown, f'others x1: {fitting.count(None)}'])}"
        )
        texts = sorted({text for each in found for text in each.texts})
        is_now = ", ".join(texts[:_SHOWN]) + (", ..." if len(texts) > _SHOWN else "")
        unused += [
            f"weights.{name}: no clip fits {value!r}; there are {is_now or 'scores only'}"
            for value, n in counts.items()
            if not n
        ]
    return ClipWeights(factors, lines, unused)


@dataclass(frozen=True)
class _Values:
    """What a clip has under one name."""

    texts: Sequence[str]
    numbers: Sequence[float]

    def __bool__(self) -> bool:
        return bool(self.texts or self.numbers)


def _values(row: Mapping[str, Any], name: str) -> _Values:
    texts = [e["label"] for e in row.get("labels") or () if e["filter"] == name and e["label"]]
    numbers = [
        e["score"]
        for e in row.get("scores") or ()
        if e["filter"] == name and e["score"] is not None
    ]
    value = row.get(name)
    if isinstance(value, bool):
        texts.append(str(value).lower())
    elif isinstance(value, int | float):
        texts.append(f"{value:g}")
        numbers.append(value)
    elif isinstance(value, str):
        texts.append(value)
    return _Values(texts, numbers)


def _first_fit(found: _Values, rules: Mapping[str, float]) -> str | None:
    for rule in rules:
        if comparison := _COMPARISON.fullmatch(rule.strip()):
            compare, limit = _COMPARE[comparison[1]], float(comparison[2])
            if any(compare(number, limit) for number in found.numbers):
                return rule
        elif any(fnmatchcase(text, rule) for text in found.texts):
            return rule
    return None


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        for kind in ("labels", "scores"):
            names.update((each["filter"], None) for each in row.get(kind) or ())
    first = rows[0] if rows else {}
    columns = [name for name, value in first.items() if isinstance(value, str | int | float)]
    return [*names, *columns]
