"""The factor of a LoRA's product: alpha over rank, from the file or from PEFT's settings."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from wanctl.checkpoint.files.errors import WeightsError

MAX_PATTERN = 1000
# Ways in which the patterns of one file may be tried on a name; the settings come with the LoRA of
# a stranger, and `re` cannot be interrupted.
MAX_WAYS = 200_000
WAYS_OF_REPETITION = 40  # about the length of a name
NO_WAYS = MAX_WAYS + 1
# A repeated group may take forever on a name that does not match; so may one behind white space
# that counts as none.
REPEATED_GROUP = re.compile(r"\)\s*[*+{]|\(\?[a-zA-Z-]*x")


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
    _check_ways(tuple(patterns), f"{where}: {key}")
    for pattern, own in patterns.items():
        if any(_matches(pattern, name, where) for name in names):
            return own
    return default


def _matches(pattern: str, name: str, where: str) -> bool:
    """Whether PEFT applies a pattern to a layer: a regular expression for the end of its name.

    The first pattern that matches counts, as in PEFT's `get_pattern_key`.

    Raises:
        WeightsError: not a regular expression.
    """
    return bool(_compiled(pattern, where).match(name))


@cache
def _check_ways(patterns: tuple[str, ...], where: str) -> None:
    """Refuse patterns that may take minutes or forever to try.

    Raises:
        WeightsError: names the most costly one.
    """
    ways = {pattern: _ways(pattern) for pattern in patterns}
    if sum(ways.values()) > MAX_WAYS:
        worst = max(ways, key=lambda pattern: ways[pattern])
        raise WeightsError(
            f"{where}: {worst[:60]!r} repeats a group, or is too long or too ambiguous to be tried "
            "on every layer; write it with fewer of `*`, `+`, `?` and `|`"
        )


def _ways(pattern: str) -> int:
    """Upper estimate of the ways in which a pattern may be tried on a name, without overlaps."""
    if len(pattern) > MAX_PATTERN:
        return NO_WAYS
    plain = re.sub(
        r"\\.|\[\^?\]?[^\]]*\]", lambda m: "0" if m[0] in (r"\d", "[0-9]") else "x", pattern
    )
    if REPEATED_GROUP.search(plain):
        return NO_WAYS
    plain = re.sub(r"([*+?}])[?+]", r"\1", plain.replace("(?", "("))
    ways = 2 ** plain.count("?")
    ways *= WAYS_OF_REPETITION ** len(re.findall(r"[^0][*+{]", plain))  # numbers are short
    innermost = re.compile(r"\(([^()]*)\)")
    while group := innermost.search(plain):
        ways *= group[1].count("|") + 1
        plain = f"{plain[: group.start()]}x{plain[group.end() :]}"
    return min(NO_WAYS, ways * (plain.count("|") + 1))


@cache
def _compiled(pattern: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(rf"(.*\.)?({pattern})$")
    except (re.error, OverflowError, RecursionError) as error:
        raise WeightsError(
            f"{where}: {pattern[:60]!r} is no regular expression ({error}), which PEFT's patterns "
            "are"
        ) from None


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WeightsError(f"{where}: got the alpha {value!r}; need a number")
    return float(value)
