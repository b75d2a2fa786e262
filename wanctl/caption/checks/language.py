"""Words, sentences, quotes and language of a caption, and how long a caption has to be.

Chinese is counted in characters, English in words. Text in quotation marks is left out of the
language check, because a sign may be in any language.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from wanctl.caption.checks.facts import Finding
from wanctl.caption.variants import Variant, accepted_length, length_of, parse_variant

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN = re.compile(f"[{HAN}]")
_KANA_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]+(?:['’][A-Za-z]+)?")
_WORD = re.compile(rf"[{HAN}]|[^\W_{HAN}]+(?:['’][^\W_{HAN}]+)?")
_LETTER = re.compile(r"[^\W\d_]")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+|(?<=[。！？…；])[”’」』）]*|\n+")
# An apostrophe is no quotation mark: single quotes need a boundary on their outer sides.
_QUOTE = re.compile(
    r"\"([^\"]{1,200})\"|“([^”]{1,200})”|「([^」]{1,200})」|『([^』]{1,200})』"
    r"|《([^》]{1,200})》|«([^»]{1,200})»|(?<![\w'])['‘]([^'‘’\n]{1,80})['’](?!\w)"
)

# The 60 commonest function words of English are 35 to 50 % of a caption's words, of French or
# German ones less than 6 % ("a", "in", "on", "an" are words there too).
_COMMON_ENGLISH = (
    "the of and to a in is that it with as was for on are by at his her from they be this their an "
    "or which while its into through has have not but he she who there over behind up down out "
    "then under across against near between around beside them each one two"
)
_ENGLISH = frozenset(_COMMON_ENGLISH.split())
_MIN_ENGLISH = 0.12
_MIN_WORDS = 12
_MAX_FOREIGN = 0.06
_MAX_FOREIGN_LETTERS = 4
"""Letters of another script in an English caption: a name outside quotation marks."""
_FOREIGN_RUN = 5
"""Latin words in a row that are a sentence inside Chinese text and no name."""
_FULL = {"": "word " * 1000}
"""Stands for a structure that fills every caption."""


def variant_of(name: str) -> Variant | None:
    """The variant with this name; None for the name of a sidecar's or a plug-in's caption."""
    try:
        return parse_variant(name)
    except ValueError:
        return None


def quoted(text: str) -> list[str]:
    """The strings in quotation marks, in order."""
    return [next(filter(None, match.groups())) for match in _QUOTE.finditer(text)]


@lru_cache(maxsize=16)
def without_quotes(text: str) -> str:
    """The text with quoted strings replaced by a space."""
    return _QUOTE.sub(" ", text)


def tokens(text: str) -> list[str]:
    """English words in lower case and single Chinese characters, without punctuation."""
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """The sentences of a text, stripped, without empty ones."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def has_chinese(text: str) -> bool:
    """Whether the text has any Chinese character."""
    return _HAN.search(text) is not None


def is_chinese(text: str) -> bool:
    """Whether most of the text is written in Chinese characters."""
    return 2 * len(_HAN.findall(text)) > len(_LATIN_WORD.findall(text))


def check_language(text: str, variant: str) -> list[Finding]:
    """A finding where the language is not that of the variant's name."""
    requested = variant_of(variant)
    plain = without_quotes(text)
    letters = _LETTER.findall(plain)
    if requested is None or not letters:
        return []
    han = len(_HAN.findall(plain))
    other = len(_KANA_HANGUL.findall(plain))
    words = _LATIN_WORD.findall(plain)
    if requested.language == "en":
        wrong = not _is_english(words, len(letters) - sum(map(len, words)))
        return [Finding("language", "the caption has to be in English only")] if wrong else []
    latin = re.search(rf"(?:[A-Za-z]+[ ,'’-]+){{{_FOREIGN_RUN - 1}}}[A-Za-z]+", plain)
    # a Latin word takes as much room as two characters
    wrong = han <= 2 * len(words) or other > _MAX_FOREIGN * (han + other) or latin
    return [Finding("language", "the caption has to be in Chinese only (用中文)")] if wrong else []


def check_length(text: str, variant: str, structure: Mapping[str, Any] | None) -> list[Finding]:
    """A finding where the caption is shorter or longer than its variant's range.

    Args:
        text: of the caption.
        variant: its name; any length suits one that is not of the structured pass.
        structure: that the caption was written from: one with few words excuses a short caption.
    """
    requested = variant_of(variant)
    if requested is None:
        return []
    least, most = accepted_length(requested, structure or _FULL)
    count = length_of(text, requested.language)
    unit = "words" if requested.language == "en" else "characters"
    target = f"write {requested.asked_length[0]} to {requested.asked_length[1]}"
    if count < least:
        return [Finding("length", f"too short with {count} {unit}; {target}")]
    return [Finding("length", f"too long with {count} {unit}; {target}")] if count > most else []


def _is_english(words: list[str], foreign: int) -> bool:
    if foreign > _MAX_FOREIGN_LETTERS:
        return False
    common = sum(word.lower() in _ENGLISH for word in words)
    return len(words) < _MIN_WORDS or common >= _MIN_ENGLISH * len(words)
