"""What a rewritten prompt is held against: language, length, quotes, refusals.

English is counted in words, Chinese in characters, of which one stands for about 0.6 words.
"""

import re
from collections.abc import Iterator

from wanctl.sample.rewrite.question import Language

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]+(?:['’-][A-Za-zÀ-ÖØ-öø-ÿ]+)*")
QUOTED = re.compile(
    r"\"([^\"\n]+)\"|“([^”\n]+)”|「([^」\n]+)」|『([^』\n]+)』"
    r"|(?<![\w'’])['‘]([^'‘’\n]+)['’](?!\w)"
)
"""A quoted string; single quotes need a boundary on their outer sides, an apostrophe has none."""
_REFUSAL = re.compile(
    r"\b(?:i['’]?m (?:sorry|unable|not able)|i (?:cannot|can['’]?t|am unable|won['’]?t)"
    r"|as an ai\b)|抱歉|对不起|作为(?:一个)?(?:ai|人工智能)|无法(?:提供|满足|协助)",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"\b(?:rewritten prompt|here is|here['’]s the|the user|this prompt|the request)\b"
    r"|改写后|提示词|用户",
    re.IGNORECASE,
)
TARGET: dict[Language, tuple[int, int]] = {"en": (80, 100), "zh": (130, 180)}
"""Length that is asked for; in Chinese that of 80 to 100 English words."""
ALLOWED: dict[Language, tuple[int, int]] = {"en": (55, 150), "zh": (80, 280)}
"""Length that is taken: models count badly, and the text encoder reads 512 tokens."""


def quoted(text: str) -> list[str]:
    """The strings in quotation marks, in order."""
    return [next(filter(None, match.groups())) for match in QUOTED.finditer(text)]


def language_of(text: str) -> Language:
    """Chinese where the unquoted text has more Chinese characters than Latin words."""
    plain = QUOTED.sub(" ", text)
    return "zh" if len(_HAN.findall(plain)) > len(_LATIN_WORD.findall(plain)) else "en"


def problems(text: str, typed: str, language: Language) -> Iterator[str]:
    """What is wrong with a rewritten prompt, in words that a model can act on.

    Args:
        text: the rewritten prompt.
        typed: the prompt that it is made from.
        language: that was asked for.
    """
    plain = QUOTED.sub(" ", text)
    if _REFUSAL.search(plain) and not _REFUSAL.search(typed):
        yield "it refuses, or speaks about you; describe the video only"
        return
    if (talk := _TALK.search(plain)) and not _TALK.search(typed):
        yield f"it says {talk.group()!r}; describe the video only"
    han, words = len(_HAN.findall(plain)), len(_LATIN_WORD.findall(plain))
    name = {"en": "English", "zh": "Chinese"}[language]
    if (han > 0.1 * (han + words)) if language == "en" else (han <= 2 * words):
        yield f"it has to be in {name} only, but for quoted text"
        return
    count, unit = (words, "words") if language == "en" else (han + words, "characters")
    least, most = ALLOWED[language]
    if not least <= count <= most:
        low, high = TARGET[language]
        yield f"it has {count} {unit}; write {low} to {high}"
    for string in dict.fromkeys(quoted(typed)):
        if string not in text:
            yield f"it lacks the quoted text {string!r}, which has to stand in it letter by letter"
