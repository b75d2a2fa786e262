"""Copies of nested sections with one value replaced or taken out."""

from typing import Any

Keys = tuple[str, ...]


class NoPlaceError(ValueError):
    """A path leads into something that is no section and no list.

    Attributes:
        keys: the part of the path up to there.
    """

    def __init__(self, keys: Keys, message: str) -> None:
        super().__init__(message)
        self.keys = keys


def assigned(data: Any, keys: Keys, value: Any, depth: int = 0) -> Any:
    """A copy with `value` at `keys`; sections that are not there are made.

    Args:
        data: sections, lists and values, found at the first `depth` keys.
        keys: the whole path; items of lists are counted from 0.
        value: what is put there.
        depth: how many keys have been followed.

    Raises:
        NoPlaceError: nothing can be put there.
    """
    if depth == len(keys):
        return value
    key = keys[depth]
    if isinstance(data, list):
        if not (key.isascii() and key.isdecimal()) or int(key) >= len(data):
            message = f"no item {key!r}; the list has {len(data)}, counted from 0"
            raise NoPlaceError(keys[: depth + 1], message)
        i = int(key)
        return [*data[:i], assigned(data[i], keys, value, depth + 1), *data[i + 1 :]]
    if data is not None and not isinstance(data, dict):
        message = f"is {data!r}, not a section; nothing can be set inside it"
        raise NoPlaceError(keys[:depth], message)
    section = data or {}
    return {**section, key: assigned(section.get(key), keys, value, depth + 1)}


def without(data: Any, keys: Keys) -> Any:
    """A copy without the value at `keys`, or without the list or section that should hold it."""
    if not isinstance(data, dict) or keys[0] not in data:
        return data
    rest = {key: value for key, value in data.items() if key != keys[0]}
    value = data[keys[0]]
    if len(keys) == 1 or not isinstance(value, dict) or keys[1] not in value:
        return rest
    # in its place, since the order of filters is the funnel
    return {key: without(each, keys[1:]) if key == keys[0] else each for key, each in data.items()}
