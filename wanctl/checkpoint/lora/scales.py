"""The factor of a LoRA's product: alpha over rank, from the file or from PEFT's settings."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from wanctl.checkpoint.files.errors import WeightsError

MAX_PATTERN = 1000
# A repetition inside a repetition may take forever on a name that does not match.
NESTED_REPETITION = re.compile(r"[*+}]\??\)[*+{]")


def scale_of(
    names: Sequence[str], rank: int, alpha: Tensor | None, config: Mapping[str, Any], where: str
) -> float:
    """Alpha over rank; 1 for a file without alpha.

    Args:
        names: spellings of the layer that PEFT's patterns may be written for.
        rank: of the matrices, as stored.
        alpha: stored for this layer; None without.
        config: PEFT's settings; empty without.
        where: names the file in errors.

    Raises:
        WeightsError: an alpha or a pattern is not valid.
    """
    if alpha is not None:
        return _number(alpha.flatten()[0].item() if alpha.numel() else None, where) / rank
    default = config.get("lora_alpha", config.get("alpha"))
    value = _by_pattern("alpha_pattern", default, names, config, where)
    if value is None:
        return 1.0
    return _number(value, where) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def configured_rank(names: Sequence[str], config: Mapping[str, Any], where: str) -> int | None:
    """The rank that PEFT's settings state for a layer; None without settings.

    Raises:
        WeightsError: it is no number from 1 on, or a pattern is not valid.
    """
    value = _by_pattern("rank_pattern", config.get("r"), names, config, where)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WeightsError(f"{where}: got the rank {value!r}; need a number from 1 on")
    return value


def _by_pattern(
    key: str, default: Any, names: Sequence[str], config: Mapping[str, Any], where: str
) -> Any:
    """The value of the first pattern that matches a layer, or the default."""
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict):
        raise WeightsError(f"{where}: {key} is a {type(patterns).__name__}; need an object")
    for pattern, own in patterns.items():
        if any(matches(pattern, name, where) for name in names):
            return own
    return default


def matches(pattern: str, name: str, where: str) -> bool:
    """Whether PEFT applies a pattern to a layer: a regular expression for the end of its name.

    The first pattern that matches counts, as in PEFT's `get_pattern_key`.

    Raises:
        WeightsError: not a regular expression, or one that may take forever.
    """
    return bool(_compiled(pattern, where).match(name))


@cache
def _compiled(pattern: str, where: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN or NESTED_REPETITION.search(pattern):
        raise WeightsError(
            f"{where}: the pattern {pattern[:60]!r} repeats a repetition or is too long; write it "
            "without"
        )
    try:
        return re.compile(rf"(.*\.)?({pattern})$")
    except re.error as error:
        raise WeightsError(
            f"{where}: {pattern[:60]!r} is no regular expression ({error}), which PEFT's patterns "
            "are"
        ) from None


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WeightsError(f"{where}: got the alpha {value!r}; need a number")
    return float(value)
