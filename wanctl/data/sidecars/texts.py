"""Captions in the content of a sidecar, or in a cell of another trainer's index.

A text is one caption, however it is stored; a list or an object may hold several. What is no
caption (a number, null, a list in a list, half a character) is left out and named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.textfiles import RepeatedKeys, parse_json, read_text

CAPTION_BYTES = 16 << 20
"""A larger caption file is refused: it is another file by mistake."""
CAPTION_KEYS = ("caption", "prompt", "text", "cap", "captions")
DEFAULT = "default"


@dataclass(frozen=True)
class CaptionText:
    """One caption. `variant` tells the captions of a clip apart: long, short, ..."""

    text: str
    variant: str = DEFAULT


@dataclass(frozen=True)
class CaptionTexts:
    """The captions in a value, and what in it is none.

    Attributes:
        captions: in their order.
        problems: one sentence for each thing that was left out.
    """

    captions: tuple[CaptionText, ...] = ()
    problems: tuple[str, ...] = ()


def read_sidecar(path: Path) -> Any:
    """The text of a sidecar, or the value in a .json file.

    Raises:
        TextError: it cannot be read, is in an unknown encoding, or is no JSON.
        FileNotFoundError: there is no such file.
    """
    text = read_text(path, CAPTION_BYTES)
    return parse_json(text, str(path)) if path.suffix.lower() == ".json" else text


def captions_in(value: Any, variant: str = DEFAULT) -> CaptionTexts:
    """Captions in a value: a text, a list of texts, or an object.

    An object holds a caption under `text` or `caption`, with its `variant`, or several by their
    variants: `{"long": ..., "short": ...}`. Empty values are no captions and no problems.
    """
    captions: list[CaptionText] = []
    problems: list[str] = []
    for found in _flatten(value, variant):
        if isinstance(found, CaptionText):
            captions += [found] if found.text else []
        else:
            problems.append(found)
    return CaptionTexts(tuple(captions), tuple(problems))


def captions_of_facts(facts: Mapping[str, Any], keys: Sequence[str] = CAPTION_KEYS) -> CaptionTexts:
    """Captions in an object of facts, or a row of an index: of the first key that has any."""
    repeated = facts.repeated if isinstance(facts, RepeatedKeys) else []
    problems = [f"{key} comes twice, the last one counts" for key in repeated]
    for key in keys:
        found = captions_in(facts.get(key))
        problems += [f"{key}: {problem}" for problem in found.problems]
        if found.captions:
            return CaptionTexts(found.captions, tuple(problems))
    return CaptionTexts((), tuple(problems))


def clean(text: str) -> str:
    """A caption without white space and byte order marks at its ends."""
    return text.strip().strip("\ufeff").strip()


def _flatten(value: Any, variant: str) -> Iterator[CaptionText | str]:
    """Captions as CaptionText, problems as text."""
    if value is None:
        return
    if isinstance(value, str):
        yield _caption(value, variant)
    elif isinstance(value, list | tuple):
        yield from _from_list(value, variant)
    elif isinstance(value, Mapping):
        yield from _from_object(value, variant)
    else:
        yield f"got {_kind(value)}, need text"


def _from_list(value: Sequence[Any], variant: str) -> Iterator[CaptionText | str]:
    for number, item in enumerate(value, 1):
        if isinstance(item, str):
            yield _caption(item, variant if number == 1 else f"{variant}-{number}")
        elif isinstance(item, Mapping) and (text := _own_text(item)) is not None:
            yield _caption(text, _variant(item, f"{variant}-{number}"))
        else:
            yield f"item {number} is {_kind(item)}, need text"


def _from_object(value: Mapping[str, Any], variant: str) -> Iterator[CaptionText | str]:
    if (text := _own_text(value)) is not None:
        yield _caption(text, _variant(value, variant))
        return
    for name, item in value.items():
        if isinstance(item, str):
            yield _caption(item, str(name))
        elif item is not None:
            yield f"{name} is {_kind(item)}, need text"


def _caption(text: str, variant: str) -> CaptionText | str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    return CaptionText(clean(text), variant)


def _own_text(value: Mapping[str, Any]) -> str | None:
    return next(
        (value[key] for key in ("text", "caption") if isinstance(value.get(key), str)), None
    )


def _variant(value: Mapping[str, Any], otherwise: str) -> str:
    stated = value.get("variant")
    return stated if isinstance(stated, str) and stated else otherwise


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)[:40]
