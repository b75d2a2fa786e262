"""Checks of captions: empty, too long, refusals, missing quotes, and repeats.

Two public data sets shipped one caption thousands of times.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

# umT5 reads 512 tokens, some 2,000 characters of English; longer output of a model is rambling.
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
# "in the video," and "the picture shows"; not "in the middle of the picture" nor "the camera rises"
_OPENER_ZH = re.compile(
    r"^在?(?:这|该|本)?(?:个|段|部|幅|张)?(?:视频|影片|片段|短片|图片|图像|画面|镜头)"
    r"(?:[里中](?:[，,：:] *|(?=[一两三几有]))(?:(?:我们)?(?:可以)?看[到见](?:了)?)?"
    r"|(?:中|主要)?(?:展示|呈现|描绘|展现|显示)了)"
)
_REFUSAL = re.compile(
    r"^(?:i['’]?m (?:sorry|unable|not able)|sorry\b|i (?:cannot|can['’]?t|can not|am unable)"
    r"|as an ai\b|unable to\b|unfortunately\b|抱歉|对不起|作为(?:一个)?(?:ai|人工智能))",
    re.IGNORECASE,
)


def normalise(text: str, *, strip_opener: bool = False) -> str:
    """Collapse white space; with `strip_opener`, "The video shows a dog" becomes "A dog"."""
    text = " ".join(text.split())
    if not strip_opener:
        return text
    rest = _OPENER_ZH.sub("", _OPENER.sub("", text, count=1), count=1)
    return rest[:1].upper() + rest[1:] if rest else text


def caption_problem(text: str, author: Literal["person", "rule", "model"]) -> str:
    """Return why a normalised caption cannot be used; empty where it can.

    Length and refusals are checked for models only, not for people.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    if not any(character.isalnum() for character in text):
        return "is empty"
    if author == "model" and len(text) > MAX_CHARACTERS:
        return f"has {len(text)} characters, at most {MAX_CHARACTERS} allowed"
    if author == "model" and _REFUSAL.match(text):
        return f"is a refusal: {text[:40]!r}"
    return ""


def unquoted(caption: str, texts: Iterable[str]) -> list[str]:
    """Return the OCR strings that a caption does not contain.

    Case, spaces, punctuation, and full or half width are ignored. A single letter or digit is too
    short to be required; a single Chinese character is not.
    """
    content = _bare(caption)
    return [text for text in texts if _is_required(bare := _bare(text)) and bare not in content]


def with_quotes(caption: str, missing: Sequence[str]) -> str:
    """Append a sentence with the missing strings to a caption, in the caption's language."""
    if any("\u4e00" <= character <= "\u9fff" for character in caption):
        return f"{caption}画面中的文字写着{'、'.join(f'“{text}”' for text in missing)}。"
    quoted = ", ".join(f'"{text}"' for text in missing)
    return f"{caption} The text in the picture reads {quoted}."


def _bare(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in plain if character.isalnum())


def _is_required(bare: str) -> bool:
    return len(bare) > 1 or (bool(bare) and not bare.isascii())


class DuplicateCaptions:
    """Counts the sources of each caption, to find captions that many sources share.

    Shots of one source may share a caption (a sidecar belongs to the whole file). Equal captions
    of unrelated footage mean that captions were mixed up or that a model repeats itself.
    """

    def __init__(self) -> None:
        self._sources: dict[str, set[str]] = {}

    def add(self, text: str, source: str) -> None:
        """Record that a clip of `source` has the caption `text`."""
        self._sources.setdefault(text.casefold(), set()).add(source)

    def merge(self, other: "DuplicateCaptions") -> None:
        """Add what another process recorded."""
        for text, sources in other._sources.items():
            self._sources.setdefault(text, set()).update(sources)

    def repeated(self) -> Iterable[tuple[str, int]]:
        """Return (caption, number of sources) of each caption that MANY_SOURCES or more share."""
        return [
            (text, len(sources))
            for text, sources in sorted(self._sources.items())
            if len(sources) >= MANY_SOURCES
        ]
