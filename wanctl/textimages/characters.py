"""Character frequencies, and sampling that raises the share of rare characters.

Without a corpus, frequencies come from GB 2312's own division, enumerated by Python's codec: 3,755
characters of level one (everyday use), 3,008 of level two, and the other characters of a font. The
shares of the three are a convention (0.99, 0.009, 0.001), not a count; within a level all are
equal. A corpus of the user gives real counts.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Literal

import numpy as np

LATIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
SHARES = {"common": 0.99, "less common": 0.009, "rare": 0.001}

Scope = Literal["common", "gb2312", "font"]


@cache
def level_one() -> frozenset[str]:
    """Characters of GB 2312 rows 16 to 55."""
    return frozenset(_rows(16, 55))


@cache
def level_two() -> frozenset[str]:
    """Characters of GB 2312 rows 56 to 87."""
    return frozenset(_rows(56, 87))


def tier(character: str) -> str:
    """`common`, `less common` or `rare`; `latin` for anything but Chinese characters."""
    if character in level_one():
        return "common"
    if character in level_two():
        return "less common"
    return "rare" if is_han(character) else "latin"


def is_han(character: str) -> bool:
    """Whether a character is a Chinese ideograph."""
    return unicodedata.name(character, "").startswith("CJK UNIFIED IDEOGRAPH")


class Alphabet:
    """Chinese characters of a font, each with its sampling probability.

    Args:
        covered: characters that the font can draw.
        scope: `common` is level one, `gb2312` both levels, `font` all Chinese characters it has.
        counts: occurrences in a corpus; empty: the convention of this module.
        balance: 0 samples by frequency, 1 uniformly.
    """

    def __init__(
        self, covered: Iterable[str], scope: Scope, counts: Counter[str], balance: float
    ) -> None:
        self._characters = sorted(each for each in covered if _in_scope(each, scope))
        tiers = [tier(each) for each in self._characters]
        sizes = Counter(tiers)
        prior = np.array([SHARES[name] / sizes[name] for name in tiers])
        if total := sum(counts[each] for each in self._characters):
            # characters that the corpus lacks share a thousandth of the probability
            shown = np.array([counts[each] for each in self._characters]) / total
            prior = 0.999 * shown + 0.001 * prior / prior.sum()
        weights = prior ** (1 - balance)
        self._probabilities = weights / weights.sum()

    def __len__(self) -> int:
        return len(self._characters)

    def sample(self, random: np.random.Generator, count: int) -> list[str]:
        """Sample `count` characters with replacement."""
        picked = random.choice(len(self._characters), size=count, p=self._probabilities)
        return [self._characters[index] for index in picked]


def _in_scope(character: str, scope: Scope) -> bool:
    if scope == "font":
        return is_han(character)
    return character in level_one() or (scope == "gb2312" and character in level_two())


def _rows(first: int, last: int) -> Iterable[str]:
    for row in range(first, last + 1):
        for cell in range(1, 95):
            try:
                yield bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312")
            except UnicodeDecodeError:
                continue
