"""The variants of a clip's captions: LENGTH-STYLE-LANGUAGE, and motion-LANGUAGE.

Long, medium and short in a formal, an informal and a poetic style are those of the captions of Wan
(arXiv 2503.20314, section 4.5); `motion` is for image-to-video training, where the first frame
already tells what everything looks like.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

MOTION = "motion"

LENGTHS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    # umT5 reads 512 tokens, and 200 words of English are some 280. The same content in Chinese has
    # 1.3 characters for each word of English, measured on ten pairs of captions
    "long": {"en": (110, 200), "zh": (140, 260)},
    "medium": {"en": (50, 80), "zh": (65, 105)},
    "short": {"en": (12, 25), "zh": (16, 32)},
    MOTION: {"en": (15, 60), "zh": (20, 80)},
}
"""Length -> language -> how many words of English or characters of Chinese are asked for."""

STYLES = ("formal", "informal", "poetic")
LANGUAGES = ("en", "zh")

# a word of another script inside Chinese, as in a quoted sign, counts as one character
_ZH_UNIT = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[A-Za-z0-9]+")


@dataclass(frozen=True)
class Variant:
    """One variant.

    Attributes:
        length: a row of LENGTHS.
        style: one of STYLES; "" where the length is `motion`.
        language: one of LANGUAGES.
    """

    length: str
    style: str
    language: str

    @property
    def name(self) -> str:
        """As it is written to tables: `long-formal-en`, `motion-zh`."""
        return "-".join(part for part in (self.length, self.style, self.language) if part)

    @property
    def asked_length(self) -> tuple[int, int]:
        """Least and most words (en) or characters (zh) that a model is asked for."""
        return LENGTHS[self.length][self.language]


@cache
def parse_variant(name: str) -> Variant:
    """The variant with this name.

    Raises:
        ValueError: no variant of the structured pass has this name.
    """
    parts = name.split("-")
    if len(parts) == 2:
        parts.insert(1, "")
    length, style, language = parts if len(parts) == 3 else ("", "", "")
    styles = ("",) if length == MOTION else STYLES
    if length not in LENGTHS or style not in styles or language not in LANGUAGES:
        raise ValueError(f"no variant of the structured pass: {name!r}")
    return Variant(length, style, language)


def variant_names(
    lengths: Sequence[str], styles: Sequence[str], languages: Sequence[str], motion: bool
) -> tuple[str, ...]:
    """Names of all variants of a video, those of one language next to each other."""
    names = []
    for language in languages:
        names += [Variant(length, style, language).name for length in lengths for style in styles]
        names += [Variant(MOTION, "", language).name] if motion else []
    return tuple(dict.fromkeys(names))


def length_of(text: str, language: str) -> int:
    """Words of English, or characters of Chinese without punctuation."""
    return len(_ZH_UNIT.findall(text)) if language == "zh" else len(text.split())


def accepted_length(variant: Variant, structure: Mapping[str, Any]) -> tuple[int, int]:
    """Least and most words or characters with which a caption of a structure is accepted.

    Models count badly, hence half of the least and one and a half of the most that is asked for. A
    structure with few words cannot fill a long caption without additions: half its words suffice.
    """
    least, most = variant.asked_length
    held = sum(length_of(text, "en") for text in _texts(structure))
    if variant.length == MOTION:
        held = min(held, 6)  # of a clip where nothing moves there is no more to say
    held = held if variant.language == "en" else int(1.3 * held)
    return max(min(least // 2, held // 2), 1), most + most // 2


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
