"""Normal forms of words and strings, so that two spellings of one thing compare as equal."""

import re
import unicodedata
from collections.abc import Sequence

HUES_DEG: dict[str, int | None] = {
    "red": 0, "orange": 30, "brown": 30, "golden": 48, "yellow": 58, "green": 120, "cyan": 180,
    "blue": 225, "purple": 280, "pink": 325, "black": None, "white": None, "gray": None,
    "silver": None, "beige": None,
}  # fmt: skip
"""Basic colour -> hue in degrees, as in HSV; None for those without one."""

_COLOR_NAMES = {
    "grey": "gray", "gold": "golden", "teal": "cyan", "turquoise": "cyan", "aqua": "cyan",
    "violet": "purple", "magenta": "pink", "fuchsia": "pink", "rose": "pink", "crimson": "red",
    "scarlet": "red", "maroon": "red", "burgundy": "red", "navy": "blue", "azure": "blue",
    "indigo": "blue", "lime": "green", "olive": "green", "emerald": "green", "tan": "beige",
    "cream": "beige", "khaki": "beige", "chocolate": "brown", "silvery": "silver",
    "reddish": "red", "bluish": "blue", "greenish": "green", "yellowish": "yellow",
    "brownish": "brown", "pinkish": "pink", "whitish": "white", "blond": "golden",
    "blonde": "golden", "amber": "orange",
}  # fmt: skip

NUMBERS = {
    "a": 1, "an": 1, "one": 1, "single": 1, "two": 2, "pair": 2, "both": 2, "three": 3, "four": 4,
    "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "dozen": 12,
}  # fmt: skip

_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose", "leaves": "leaf", "knives": "knife",
    "wolves": "wolf", "shelves": "shelf", "halves": "half", "lives": "life", "wives": "wife",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the", "some", "of"})
_SHORT = 3


def words(text: str) -> list[str]:
    """Lower-case words of a text without punctuation; each Chinese character is a word."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("-", " ")
    return re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+", plain)


def singular(word: str) -> str:
    """A lower-case noun in the singular; other words lose a final -s as well."""
    word = _IRREGULAR.get(word, word)
    if word.endswith("ies") and len(word) > _SHORT + 1:
        return f"{word[:-3]}y"
    if word.endswith(("ses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _SHORT:
        return word[:-1]
    return word


def stem(word: str) -> str:
    """A word in the singular; of a verb, without -s, -ing or -ed ("running" gives "run")."""
    word = singular(word)
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _SHORT and re.search(r"[aeiouy]", rest):
            return rest[:-1] if len(rest) > _SHORT and rest[-1] == rest[-2] else rest
    return word


def normal(text: str) -> tuple[str, ...]:
    """The stems of a text without articles: equal for spellings of one thing."""
    stems = tuple(stem(each).removesuffix("e") for each in words(text) if each not in _ARTICLES)
    return stems or tuple(words(text))


def colors(text: str) -> frozenset[str]:
    """The basic colours that a text names."""
    named = (_COLOR_NAMES.get(each, each) for each in words(text))
    return frozenset(each for each in named if each in HUES_DEG)


def without_colors(text: str) -> str:
    """A text without its colour words: "dark red ball" gives "ball"; as it is where none is left.

    Words for shades are dropped with them.
    """
    shades = {"dark", "light", "bright", "pale", "deep", "and"}
    kept = [each for each in words(text) if not colors(each) and each not in shades]
    return " ".join(kept) or text


def count_of(text: str) -> int | None:
    """A number in digits or as an English word; None where it is neither."""
    word = text.strip().casefold()
    return int(word) if word.isdecimal() else NUMBERS.get(word)


def edit_similarity(first: str, second: str) -> float:
    """1 minus the edit distance (Levenshtein) over the longer length; case and spaces are ignored.

    Both empty gives 1.
    """
    a, b = (bare(each) for each in (first, second))
    longest = max(len(a), len(b))
    return 1 - _distance(a, b) / longest if longest else 1.0


def bare(text: str) -> str:
    """A text's letters and digits in lower case, full and half width alike."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(each for each in plain if each.isalnum())


def _distance(a: Sequence[str], b: Sequence[str]) -> int:
    row = list(range(len(b) + 1))
    for number, left in enumerate(a, 1):
        previous, row[0] = row[0], number
        for column, right in enumerate(b, 1):
            previous, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, previous + (left != right)),
            )
    return row[-1]
