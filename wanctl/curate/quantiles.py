"""Thresholds given as a percentile of the score over the data set: `min_mean: p20`.

Scores do not depend on thresholds, so all scores are computed first and then the number.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

_FORM = re.compile(r"^p(\d{1,2}(?:\.\d+)?|100)$")
_pc: Any = pc  # its functions are unknown to type checkers


class Quantile(float):
    """A percentile as the placeholder of a number.

    Its float value is NaN, so that comparing a score with it drops nothing.
    """

    def __new__(cls, percent: float) -> "Quantile":
        """Make the percentile `percent`, 0 to 100; `Quantile(20)` is `p20` in a recipe."""
        made = super().__new__(cls, math.nan)
        made.percent = percent
        return made

    percent: float

    def __repr__(self) -> str:
        return f"p{self.percent:g}"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[type["Quantile"], tuple[float]]:
        return Quantile, (self.percent,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantile) and other.percent == self.percent

    def __hash__(self) -> int:
        return hash(("quantile", self.percent))


def or_quantile(value: Any, validate: Callable[[Any], Any]) -> Any:
    """Pydantic validator of a field that may be a percentile."""
    if isinstance(value, Quantile):
        return value
    if isinstance(value, str):
        match = _FORM.match(value)
        if match is None:
            text = "must be a number, or a percentile of the score: p0 to p100"
            raise PydanticCustomError("quantile", text)
        return Quantile(float(match[1]))
    return validate(value)


def quantiles_of(model: BaseModel) -> dict[str, Quantile]:
    """Field -> percentile, for the fields of a filter that are percentiles."""
    values = {name: getattr(model, name) for name in type(model).model_fields}
    return {name: value for name, value in values.items() if isinstance(value, Quantile)}


def percentile_values(model: BaseModel, scores: np.ndarray) -> dict[str, float]:
    """Field -> number for the percentiles of a filter.

    Each is a score that occurs, so that the same clips give the same number in any order. Without
    scores the result is empty.

    Args:
        model: the filter.
        scores: (N,) of the clips it was measured on; NaN is ignored.
    """
    known = scores[~np.isnan(scores)]
    if not len(known):
        return {}
    numbers = {}
    for name, quantile in quantiles_of(model).items():
        info = type(model).model_fields[name]
        extra = info.json_schema_extra
        per_unit = float(extra["quantile"]) if isinstance(extra, dict) else 1.0  # type: ignore[arg-type]
        number = float(np.percentile(known, quantile.percent, method="lower")) / per_unit
        numbers[name] = round(number) if info.annotation in (int, int | None) else number
    return numbers


def scores_of(selection: pa.Table, name: str) -> np.ndarray:
    """Scores of one filter in a selection; clips without a score are skipped."""
    pairs = _pc.list_flatten(selection["scores"])
    names, scores = (_pc.struct_field(pairs, [index]) for index in (0, 1))
    return scores.filter(_pc.equal(names, name)).to_numpy()
