"""Text that a caption or a structure quotes and OCR never saw."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.checks.language import quoted

# Share of a quoted string's characters that OCR has to have read, in order. Below it the string is
# no misreading: random English words share 0.3 to 0.45 with each other.
_MIN_SHARE = 0.6
# Characters that OCR and people confuse, as one.
_ALIKE = str.maketrans("01|!5$8@", "oilissba")
_LEAST = 2
"""Shorter strings are letters and digits that OCR often misses."""
_WORD, _WORD_CHINESE = 4, 2
"""Letters, or characters of another script, from which a string is taken for a word."""


def check_quotes(text: str, facts: MeasuredFacts) -> list[Finding]:
    """A finding where a caption quotes text that OCR did not read; none where OCR is not sure."""
    return _unseen(quoted(text), facts, "do not quote")


def check_structure_text(structure: Mapping[str, Any], facts: MeasuredFacts) -> list[Finding]:
    """A finding where `ocr_text` of a structure has strings that OCR did not read."""
    return _unseen(structure.get("ocr_text", ()), facts, "ocr_text has")


def unread(texts: Iterable[str], strings: Sequence[str]) -> list[str]:
    """The strings of OCR that are not among those of a model, misreadings of either allowed for.

    Short ones are not required: in streets and shops OCR reads fragments that no one would quote.
    """
    known = _bare("".join(strings))
    return [
        text
        for text in texts
        if len(bare := _bare(text)) >= (_WORD if bare.isascii() else _WORD_CHINESE)
        and not _is_seen(bare, known, strings)
    ]


def _unseen(strings: Iterable[str], facts: MeasuredFacts, what: str) -> list[Finding]:
    if facts.texts is None or facts.has_unread_text:
        return []
    known = _bare("".join(facts.texts))
    unseen = [each for each in strings if not _is_seen(_bare(each), known, facts.texts)]
    if not unseen:
        return []
    listed = ", ".join(f'"{each[:40]}"' for each in unseen[:4])
    return [Finding("ocr", f"{what} {listed}: text recognition did not find it in the picture")]


def _is_seen(string: str, known: str, texts: Sequence[str]) -> bool:
    if len(string) < _LEAST or string in known:
        return True
    if _covered(string, known) >= _MIN_SHARE:
        return True
    # OCR read parts of a longer string
    parts = sum(len(part) for each in texts if len(part := _bare(each)) >= 3 and part in string)
    return parts >= _MIN_SHARE * len(string)


def _covered(string: str, text: str) -> float:
    """1 minus the edit distance of `string` to the part of `text` nearest to it, per character.

    Sellers, The theory and computation of evolutionary distances, 1980: the first row is zero.
    """
    if not text:
        return 0.0
    above = [0] * (len(text) + 1)
    for row, character in enumerate(string, 1):
        here = [row]
        for column, other in enumerate(text, 1):
            here.append(
                min(above[column - 1] + (character != other), above[column] + 1, here[-1] + 1)
            )
        above = here
    return 1 - min(above) / len(string)


def _bare(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_ALIKE)
    return "".join(character for character in plain if character.isalnum())
