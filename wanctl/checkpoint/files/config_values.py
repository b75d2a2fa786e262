"""Values of a config.json that came from somewhere else: typed, bounded, compared with tensors.

A config that says a billion layers must fail in one line before a billion layers are built.
"""

import math
from collections.abc import Mapping
from typing import Any

from wanctl.checkpoint.files.errors import WeightsError

MOST = 1_000_000  # of any size; the largest published one is a vocabulary of 256,384
MOST_ITEMS = 4096
SHOWN = 40


class ConfigValues:
    """Reads the keys of one config.

    Args:
        config: its JSON object.
        where: names it in errors.
    """

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self._config = config
        self._where = where

    def whole(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number from `least` to a million.

        Raises:
            KeyError: not there, and there is no default.
            WeightsError: another value.
        """
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise self._error(key, value, f"a whole number from {least} to {MOST:,}")
        return value

    def optional(self, key: str) -> int | None:
        """A whole number, or None where the key is missing or null."""
        return None if self._config.get(key) is None else self.whole(key)

    def real(self, key: str, default: float | None = None) -> float:
        """A number above 0 and below 1, such as an epsilon.

        Raises:
            KeyError: not there, and there is no default.
            WeightsError: another value.
        """
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise self._error(key, value, "a number between 0 and 1")
        return float(value)

    def wholes(self, key: str, *, least: int = 1) -> tuple[int, ...]:
        """A list of whole numbers; empty where the key is missing or null.

        Raises:
            WeightsError: another value.
        """
        values = self._list(key)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
                raise self._error(key, value, f"whole numbers from {least} to {MOST:,}")
        return tuple(values)

    def reals(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers.

        Raises:
            KeyError: not there.
            WeightsError: another value.
        """
        self._get(key, None)
        values = self._list(key)
        for value in values:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                raise self._error(key, value, "finite numbers")
        return tuple(map(float, values))

    def flags(self, key: str) -> tuple[bool, ...]:
        """A list of true and false.

        Raises:
            KeyError: not there.
            WeightsError: another value.
        """
        self._get(key, None)
        values = self._list(key)
        if wrong := [value for value in values if not isinstance(value, bool)]:
            raise self._error(key, wrong[0], "true and false")
        return tuple(values)

    def _list(self, key: str) -> list[Any]:
        values = self._config.get(key) or []
        if not isinstance(values, list | tuple) or len(values) > MOST_ITEMS:
            raise self._error(key, values, f"a list of at most {MOST_ITEMS:,}")
        return list(values)

    def _get(self, key: str, default: Any) -> Any:
        if key not in self._config and default is None:
            raise KeyError(key)
        return self._config.get(key, default)

    def _error(self, key: str, value: Any, need: str) -> WeightsError:
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        return WeightsError(f"{self._where}: {key} is {shown}; need {need}")


def compare_sizes(stated: Mapping[str, object], stored: Mapping[str, object], where: str) -> None:
    """Compare sizes that a config states with those that tensors have.

    Args:
        stated: key of the config -> its value.
        stored: the same keys -> value that the tensors show; keys that they do not show are left
            out.
        where: names the config.

    Raises:
        WeightsError: names the first that differs.
    """
    for key, value in stored.items():
        if stated[key] != value:
            raise WeightsError(
                f"{where}: {key} {stated[key]}, and the tensors have {value}; take the config.json "
                "of these weights"
            )
