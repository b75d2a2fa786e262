"""Repetition inside one caption: loops of words, and sentences that come twice."""

from collections import Counter
from itertools import pairwise

from wanctl.caption.checks.facts import Finding
from wanctl.caption.checks.language import is_chinese, sentences, tokens

# Sentences shorter than this may come twice ("A pause.").
_MIN_SENTENCE = {False: 4, True: 6}
# A run of this many tokens may come twice in a long caption, not four times.
_NGRAM = {False: 4, True: 6}
_MAX_NGRAM = 3
# Length of the phrase that may come twice in a row, but not three times.
_MAX_PERIOD = 12
_SIMILAR = 0.8


def check_repeats(text: str) -> list[Finding]:
    """A finding where the caption repeats itself."""
    zh = is_chinese(text)
    if twice := _repeated_sentence(text, zh):
        return [Finding("repetition", f"a sentence comes twice ({twice[:40]!r}); say it once")]
    words = tokens(text)
    if loop := _loop(words) or _frequent(words, _NGRAM[zh]):
        phrase = ("" if zh else " ").join(loop)
        return [Finding("repetition", f"words repeat ({phrase[:40]!r}); say each thing once")]
    return []


def _repeated_sentence(text: str, zh: bool) -> str:
    seen: list[frozenset[tuple[str, str]]] = []
    for sentence in sentences(text):
        words = tokens(sentence)
        if len(words) < _MIN_SENTENCE[zh]:
            continue
        pairs = frozenset(pairwise(words))
        if any(len(pairs & other) >= _SIMILAR * len(pairs | other) for other in seen):
            return sentence
        seen.append(pairs)
    return ""


def _loop(words: list[str]) -> list[str]:
    """The shortest phrase that comes three times in a row; empty where none does."""
    for period in range(1, min(_MAX_PERIOD, len(words) // 3) + 1):
        same = 0
        for index in range(period, len(words)):
            same = same + 1 if words[index] == words[index - period] else 0
            if same == 2 * period and not _is_number(words[index - period + 1 : index + 1]):
                return words[index - period + 1 : index + 1]
    return []


def _frequent(words: list[str], size: int) -> list[str]:
    grams = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    found = next((gram for gram, count in grams.items() if count > _MAX_NGRAM), ())
    return list(found)


def _is_number(words: list[str]) -> bool:
    return all(word.isdigit() for word in words)
