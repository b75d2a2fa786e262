"""What no key of a recipe takes, whatever it is for: figures and texts that break what follows.

Sections check types and bounds of their own keys; these rules hold for the keys of filters and
plug-ins too, which the schema does not know.
"""

import math
from collections.abc import Iterator
from typing import Any

from wanctl.escaping import one_line

Keys = tuple[str, ...]

MAX_INT = 2**64 - 1
MIN_INT = -(2**63)
SMALLEST, LARGEST = 1e-30, 1e15
"""Absolute value of a number with a fraction: a smaller one vanishes in float32 arithmetic."""
_ALLOWED = "\t\n\r\f\v\x85"


def value_problems(data: Any, keys: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Yield the path and what is wrong, for every value at and below `keys`."""
    if isinstance(data, dict):
        for key, value in data.items():
            if problem := _text_problem(str(key)):
                yield (*keys, one_line(str(key))), f"key {problem}"
            yield from value_problems(value, (*keys, str(key)))
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from value_problems(value, (*keys, str(index)))
    elif problem := _problem(data):
        yield keys, problem


def _problem(value: Any) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if MIN_INT <= value <= MAX_INT else "got a whole number beyond 64 bits"
    if isinstance(value, float):
        return _float_problem(value)
    return _text_problem(value) if isinstance(value, str) else ""


def _float_problem(value: float) -> str:
    if not math.isfinite(value):
        return f"got {value}; must be a finite number (no limit: null, or leave the key out)"
    if value and not SMALLEST <= abs(value) <= LARGEST:
        return f"got {value:g}; must be 0, or between {SMALLEST:g} and {LARGEST:g} without its sign"
    return ""


def _text_problem(text: str) -> str:
    for each in text:
        if not each.isprintable() and each not in _ALLOWED and (each < "\xa0" or _is_half(each)):
            what = "half a character" if _is_half(each) else "the control character"
            return f"got {one_line(text[:60])!r}; holds {what} U+{ord(each):04X}, take it out"
    return ""


def _is_half(each: str) -> bool:
    return "\ud800" <= each <= "\udfff"
