"""What a caption must not be. Two public data sets shipped one caption thousands of times."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

# umT5 reads 512 tokens, some 2,000 characters of English; a model that goes on is rambling.
MAX_CHARACTERS = 3000
MANY_SOURCES = 3

_FOOTAGE = r"(?:video|clip|footage|scene|shot)(?: clip)?"
_SHOWS = r"(?:shows|depicts|features|captures|displays|presents|illustrates|opens with|begins with)"
_WE_SEE = r"(?:we|you) (?:can )?see "
_OPENER = re.compile(
    rf"^(?:this|the) (?:short )?{_FOOTAGE} {_SHOWS}(?: that)?[:,]? +"
    rf"|^in (?:this|the) (?:short )?{_FOOTAGE}(?:, *(?:{_WE_SEE})?| {_WE_SEE})",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^(?:i['’]?m (?:sorry|unable|not able)|sorry\b|i (?:cannot|can['’]?t|can not|am unable)"
    r"|as an ai\b|unable to\b|unfortunately\b|抱歉|对不起|作为(?:一个)?(?:ai|人工智能))",
    re.IGNORECASE,
)


def tidy(text: str, *, strip_opener: bool = False) -> str:
    """White space made single; with `strip_opener`, "The video shows a dog" becomes "A dog"."""
    text = " ".join(text.split())
    if not strip_opener:
        return text
    rest = _OPENER.sub("", text, count=1)
    return rest[:1].upper() + rest[1:] if rest else text


def problem(text: str, author: Literal["person", "rule", "model"]) -> str:
    """Why a tidy caption cannot be used; empty where it can.

    People may write at any length and begin as they like; models may not.
    """
    if not any(character.isalnum() for character in text):
        return "is empty"
    if author == "model" and len(text) > MAX_CHARACTERS:
        return f"has {len(text)} characters, at most {MAX_CHARACTERS} allowed"
    if author == "model" and _REFUSAL.match(text):
        return f"is a refusal: {text[:40]!r}"
    return ""


def unquoted(caption: str, texts: Iterable[str]) -> list[str]:
    """Strings read in the picture that a caption does not contain.

    Case, spaces, marks, and full or half width do not count; a single letter or digit is too
    short to ask for, a single Chinese character is not.
    """
    said = _bare(caption)
    return [text for text in texts if _asked_for(bare := _bare(text)) and bare not in said]


def with_quotes(caption: str, missing: Sequence[str]) -> str:
    """The caption, followed by the strings that it left out, in its own language."""
    if any("\u4e00" <= character <= "\u9fff" for character in caption):
        return f"{caption}画面中的文字写着{'、'.join(f'“{text}”' for text in missing)}。"
    quoted = ", ".join(f'"{text}"' for text in missing)
    return f"{caption} The text in the picture reads {quoted}."


def _bare(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in plain if character.isalnum())


def _asked_for(bare: str) -> bool:
    return len(bare) > 1 or (bool(bare) and not bare.isascii())


class DuplicateWatch:
    """Notices captions that come back for many different sources.

    Shots of one source may share a caption (a sidecar belongs to the whole file); unrelated
    footage with the same words means that captions were mixed up or written by a stuck model.
    """

    def __init__(self) -> None:
        self._sources: dict[str, set[str]] = {}

    def add(self, text: str, source: str) -> None:
        """Note that a clip of `source` got `text`."""
        self._sources.setdefault(text.casefold(), set()).add(source)

    def repeated(self) -> Iterable[tuple[str, int]]:
        """(caption, number of sources) of each one that MANY_SOURCES or more share."""
        return [
            (text, len(sources))
            for text, sources in sorted(self._sources.items())
            if len(sources) >= MANY_SOURCES
        ]
