"""Noun phrases of captions with their number and colour: "three red cars", 两只黑狗."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from wanctl.caption.checks.language import has_chinese

_NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "single": 1, "one": 1,
}  # fmt: skip
_IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "persons": "person", "children": "child",
    "kids": "child", "kid": "child", "feet": "foot", "teeth": "tooth", "mice": "mouse",
    "geese": "goose", "leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "automobile": "car", "automobiles": "car",
    "individual": "person", "individuals": "person", "puppies": "puppy", "glasses": "glasses",
    "bikes": "bicycle", "bike": "bicycle", "lady": "woman", "ladies": "woman", "guy": "man",
    "guys": "man", "buses": "bus", "bus": "bus", "grass": "grass", "dress": "dress",
}  # fmt: skip
PEOPLE = frozenset({"man", "woman", "child", "person", "boy", "girl"})
"""Nouns that are a person."""

COLORS = {
    "red": "red", "crimson": "red", "scarlet": "red", "maroon": "red", "burgundy": "red",
    "orange": "orange", "yellow": "yellow", "golden": "yellow", "gold": "yellow", "green": "green",
    "blue": "blue", "navy": "blue", "turquoise": "blue", "teal": "blue", "cyan": "blue",
    "purple": "purple", "violet": "purple", "lavender": "purple", "pink": "pink",
    "magenta": "pink", "brown": "brown", "tan": "brown", "beige": "brown", "black": "black",
    "white": "white", "cream": "white", "grey": "grey", "gray": "grey", "silver": "grey",
}  # fmt: skip
"""Colour word -> family."""

# Families that people use for one colour.
_NEAR = {
    frozenset(pair)
    for pair in (
        ("red", "orange"), ("red", "pink"), ("red", "brown"), ("red", "purple"),
        ("orange", "yellow"), ("orange", "brown"), ("yellow", "brown"), ("yellow", "green"),
        ("yellow", "white"), ("green", "blue"), ("blue", "purple"), ("purple", "pink"),
        ("pink", "white"), ("brown", "black"), ("brown", "white"), ("brown", "grey"),
        ("black", "grey"), ("white", "grey"), ("blue", "grey"), ("black", "blue"),
        ("green", "grey"), ("green", "brown"), ("pink", "brown"), ("orange", "pink"),
    )
}  # fmt: skip

_WORDS_ZH = {
    "人": "person", "男人": "man", "男子": "man", "男士": "man", "女人": "woman", "女子": "woman",
    "女士": "woman", "孩子": "child", "小孩": "child", "男孩": "boy", "女孩": "girl", "狗": "dog",
    "小狗": "dog", "猫": "cat", "小猫": "cat", "马": "horse", "鸟": "bird", "牛": "cow",
    "羊": "sheep", "大象": "elephant", "熊": "bear", "兔子": "rabbit", "汽车": "car",
    "轿车": "car", "车": "car", "出租车": "taxi", "公交车": "bus", "巴士": "bus", "卡车": "truck",
    "自行车": "bicycle", "摩托车": "motorcycle", "船": "boat", "飞机": "airplane", "椅子": "chair",
    "桌子": "table", "杯子": "cup", "瓶子": "bottle", "花": "flower", "树": "tree", "球": "ball",
    "苹果": "apple", "书": "book", "西装": "suit", "领结": "tie", "衬衫": "shirt",
    "裙子": "dress", "外套": "coat", "夹克": "jacket", "帽子": "hat", "气球": "balloon",
}  # fmt: skip
_NUMBERS_ZH = {
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9,
    "十": 10,
}  # fmt: skip
_COLORS_ZH = {
    "红": "red", "橙": "orange", "橘": "orange", "黄": "yellow", "金": "yellow", "绿": "green",
    "蓝": "blue", "青": "blue", "紫": "purple", "粉": "pink", "棕": "brown", "褐": "brown",
    "黑": "black", "白": "white", "灰": "grey", "银": "grey",
}  # fmt: skip

_STOP_WORDS = (
    "a an the of in on with and or to by at is are was while his her its their this that these "
    "those some many several few other another as from into for has have wears wearing"
)
_STOPS = frozenset(_STOP_WORDS.split())
_HEADS = frozenset({"door", "doors", "window", "windows", "seat", "seats", "wheel", "driver"})
"""Nouns that make the one before them an attribute: a car door is no car."""
_ENGLISH_TOKEN = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_ZH_NOUN = "|".join(sorted(_WORDS_ZH, key=len, reverse=True))
_NOUN_ZH = re.compile(_ZH_NOUN)
_NUMBER_ZH = re.compile(
    rf"(?P<number>[{''.join(_NUMBERS_ZH)}]|\d{{1,2}})[个只条辆名位匹头把张架艘棵朵座本台件群]"
)
_COLOR_ZH = re.compile(rf"(?P<color>[{''.join(_COLORS_ZH)}])色|(?P<short>[{''.join(_COLORS_ZH)}])$")
_BREAK_ZH = re.compile("[，。；！？、和与及,.;!?]")
_REACH_ZH = 14
"""Characters before a Chinese noun in which its number and colour stand."""


class Mention(NamedTuple):
    """One noun with what stands before it.

    Attributes:
        noun: singular; of Chinese the English word.
        number: None where none is stated.
        colors: families of COLORS.
        is_bare: whether nothing but number and colour stands before the noun.
    """

    noun: str
    number: int | None
    colors: frozenset[str]
    is_bare: bool


def mentions(text: str, nouns: frozenset[str]) -> Iterator[Mention]:
    """The noun phrases of a text whose noun, in the singular, is one of `nouns`.

    A noun with several words is looked for by its last one.
    """
    yield from _english(text.lower(), nouns)
    if has_chinese(text):
        yield from _chinese(text, nouns)


@lru_cache(maxsize=10_000)
def singular(noun: str) -> str:
    """The singular of the last word of a noun phrase, with common synonyms as one."""
    word = noun.lower().split()[-1] if noun.split() else ""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def color_families(text: str) -> frozenset[str]:
    """Families of the colour words in a text."""
    english = {COLORS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in COLORS}
    return frozenset(english | {_COLORS_ZH[sign] for sign in text if sign in _COLORS_ZH})


def differ(first: frozenset[str], second: frozenset[str]) -> bool:
    """Whether no colour of the first is, or is near, one of the second."""
    return not any(a == b or frozenset((a, b)) in _NEAR for a in first for b in second)


def _english(text: str, nouns: frozenset[str]) -> Iterator[Mention]:
    words = _ENGLISH_TOKEN.findall(text)
    for index, word in enumerate(words):
        noun = singular(word) if word.isalpha() else ""
        following = words[index + 1] if index + 1 < len(words) else ""
        if noun in nouns and following not in _HEADS:
            yield _mention(noun, words[max(0, index - 6) : index])


def _mention(noun: str, before: list[str]) -> Mention:
    """The mention of a noun from the words before it, from the nearest on."""
    number, colors, others = None, set(), 0
    for position in range(len(before) - 1, -1, -1):
        word = before[position]
        if word in COLORS:
            colors.add(COLORS[word])
        elif word in ("and", "-") and colors:
            continue
        elif word in _NUMBERS or (word.isdigit() and len(word) < 3):
            number = _NUMBERS.get(word) or int(word)
            break
        elif not word.isalpha() or word in _STOPS or others == 2:
            number = 2 if word == "of" and before[max(0, position - 1)] == "pair" else None
            break
        else:
            others += 1
    return Mention(noun, number, frozenset(colors), others == 0)


def _chinese(text: str, nouns: frozenset[str]) -> Iterator[Mention]:
    start = 0
    for found in _NOUN_ZH.finditer(text):
        before = text[max(start, found.start() - _REACH_ZH) : found.start()]
        start = found.end()
        noun = _WORDS_ZH[found.group()]
        if noun not in nouns:
            continue
        before = _BREAK_ZH.split(before)[-1].removesuffix("的")
        numbers = list(_NUMBER_ZH.finditer(before))
        sign = numbers[-1]["number"] if numbers else ""
        number = _NUMBERS_ZH.get(sign) or (int(sign) if sign else None)
        rest = before[numbers[-1].end() :] if numbers else before
        colors = [each["color"] or each["short"] for each in _COLOR_ZH.finditer(rest)]
        yield Mention(noun, number, color_families("".join(colors)), not rest)
