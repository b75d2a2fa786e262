"""Captions with one known fault each, and captions as they were, to measure the checks on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from wanctl.caption.checks.check import check_caption
from wanctl.caption.checks.facts import MeasuredFacts
from wanctl.caption.variants import accepted_length, length_of, parse_variant

NOTHING = MeasuredFacts(5.0, None, None, {}, None, None, None, ())


@dataclass(frozen=True)
class Case:
    """A caption with what it is held against.

    Attributes:
        fault: name of the check that has to object; "" for a caption without a fault.
    """

    text: str
    variant: str
    structure: Mapping[str, Any] | None = None
    facts: MeasuredFacts = NOTHING
    fault: str = ""

    def findings(self) -> set[str]:
        """Names of the checks that object."""
        found = check_caption(self.text, self.variant, self.structure, self.facts)
        return {each.check for each in found}


_MORE = "Behind this a narrow wooden bridge leads across calm water towards three old barns."
_MORE_ZH = "后面有一座窄窄的木桥通向对岸的旧谷仓和一片树林。"
_LISTS = (
    ["wind", "door", "kettle", "lamp", "curtain", "clock", "radio", "tree"],
    ["moves", "opens", "boils", "flickers", "sways", "ticks", "plays", "bends"],
    ["over hills", "with force", "on a stove", "at night", "by itself", "all day", "jazz", "low"],
)
_LISTS_ZH = (
    ["微风", "房门", "水壶", "台灯", "窗帘", "时钟", "收音机", "老树"],
    [
        "轻轻吹过",
        "慢慢打开",
        "冒出热气",
        "忽明忽暗",
        "来回摆动",
        "不停走着",
        "放着音乐",
        "弯下枝条",
    ],
    ["山坡", "迎接客人", "在炉子上", "照亮桌面", "挡住阳光", "直到深夜", "十分欢快", "靠近水面"],
)

Fault = Callable[[Random, Case], Case | None]


def _prefix(name: str, english: Sequence[str], chinese: Sequence[str]) -> Fault:
    def inject(random: Random, case: Case) -> Case:
        if _is_chinese(case):
            return replace(case, text=random.choice(chinese) + case.text, fault=name)
        text = random.choice(english) + case.text[0].lower() + case.text[1:]
        return replace(case, text=text, fault=name)

    return inject


def _suffix(name: str, english: Sequence[str], chinese: Sequence[str], **facts: Any) -> Fault:
    def inject(random: Random, case: Case) -> Case:
        words = random.choice(chinese if _is_chinese(case) else english)
        space = "" if _is_chinese(case) else " "
        measured = replace(case.facts, **facts)
        return replace(case, text=case.text + space + words, facts=measured, fault=name)

    return inject


def _cut(random: Random, case: Case) -> Case | None:
    """One more sentence that stops in its middle."""
    if _is_chinese(case):
        text = case.text + _MORE_ZH[: random.randrange(4, len(_MORE_ZH) - 2)]
    else:
        words = _MORE.split()
        text = " ".join([case.text, *words[: random.randrange(2, len(words) - 1)]])
    return _fitting(replace(case, text=text, fault="truncation"))


def _other_language(random: Random, case: Case) -> Case:
    if _is_chinese(case):
        foreign = random.choice(
            ["A man walks along a quiet road in the rain while cars pass.",
             "男の人が雨の中、静かな道をゆっくりと歩いていて、車が何台も横をとおりすぎていきます。"]
        )  # fmt: skip
    else:
        foreign = random.choice(
            ["一名男子在雨中沿着安静的道路行走，汽车从旁边驶过。",
             "Un homme marche le long d'une route calme pendant que des voitures passent vite."]
        )  # fmt: skip
    mixed = random.random() < 0.5 and not foreign.startswith("Un ")
    text = f"{case.text} {foreign}" if mixed else foreign
    return _fitting(replace(case, text=text, structure=None, fault="language"))


def _length(random: Random, case: Case) -> Case:
    chinese = _is_chinese(case)
    if random.random() < 0.5:
        text = case.text[:3] + "。" if chinese else " ".join(case.text.split()[:3]) + "."
        return replace(case, text=text, structure=None, fault="length")
    things, verbs, places = _LISTS_ZH if chinese else _LISTS
    more = [
        f"{thing}{verb}{place}。" if chinese else f"The {thing} {verb} {place}."
        for thing, verb, place in zip(things, verbs, places, strict=True)
    ]
    text = "".join([case.text, *more]) if chinese else " ".join([case.text, *more])
    return replace(case, text=text, variant=_short(case), structure=None, fault="length")


def _markup(random: Random, case: Case) -> Case:
    form = random.choice(
        ["**{}**", '{{"caption": "{}"}}', "```\n{}\n```", "# Caption\n{}", "{}</s>", "- {}",
         "{}<|im_end|>", "{}\\n"]
    )  # fmt: skip
    return replace(case, text=form.format(case.text), fault="markup")


def _repeat(random: Random, case: Case) -> Case:
    kind = random.randrange(2)
    if kind == 0:
        text = f"{case.text} {case.text}"
    elif _is_chinese(case):
        text = case.text[:-1] + "，走过来，又走过去" * 4 + "。"
    else:
        text = case.text[:-1] + " and over the grass" * 4 + "."
    return _fitting(replace(case, text=text, fault="repetition"))


def _empty(random: Random, case: Case) -> Case:
    return replace(case, text=random.choice(["...", " ", f"{case.text} \ud83d"]), fault="empty")


_MOVES = {
    "pan left": ("The camera slowly pans to the left.", "镜头缓缓向左移动。"),
    "pan right": ("The camera pans from left to right.", "镜头向右摇。"),
    "tilt up": ("Then the camera tilts up towards the sky.", "随后镜头向上摇起。"),
    "tilt down": ("The camera tilts downward.", "镜头向下移动。"),
    "zoom in": ("The camera gradually zooms in.", "镜头逐渐推近。"),
    "zoom out": ("The camera pulls back.", "镜头慢慢拉远。"),
    "still": ("The camera remains static.", "镜头固定不动。"),
}
_CONTRARY = {
    "pan left": ("pan right", "still"), "pan right": ("pan left", "still"),
    "tilt up": ("tilt down", "still"), "tilt down": ("tilt up",), "zoom in": ("zoom out", "still"),
    "zoom out": ("zoom in",), "still": ("pan left", "zoom in", "tilt up", "pan right"),
}  # fmt: skip


def _camera(random: Random, case: Case) -> Case:
    true = random.choice(list(_CONTRARY))
    said = _MOVES[random.choice(_CONTRARY[true])][_is_chinese(case)]
    facts = replace(case.facts, camera=(true,))
    space = "" if _is_chinese(case) else " "
    return replace(case, text=f"{case.text}{space}{said}", facts=facts, fault="camera")


def _count(random: Random, case: Case) -> Case | None:
    """More of an object than the structure has."""
    for old, new in (
        ("A man", "Three men"), ("A big grey cartoon rabbit", "Four cartoon rabbits"),
        ("A pedestrian", "Two pedestrians"), ("a cyclist", "two cyclists"),
        ("一名男子", "三名男子"), ("一只", "五只"),
    ):  # fmt: skip
        if old in case.text and case.structure and case.structure["object_counting"]:
            return replace(case, text=case.text.replace(old, new), fault="count")
    return None


def _color(random: Random, case: Case) -> Case | None:
    for old, new in (
        ("red bow tie", "green bow tie"), ("dark suit", "white suit"), ("grey bus", "red bus"),
        ("grey cartoon rabbit", "red cartoon rabbit"), ("green meadow", "purple meadow"),
        ("white roof", "green roof"), ("红色领结", "绿色领结"), ("灰色的卡通兔", "红色的卡通兔"),
    ):  # fmt: skip
        if old in case.text and case.structure:
            return replace(case, text=case.text.replace(old, new), fault="color")
    return None


def _no_movement(random: Random, case: Case) -> Case:
    text = random.choice(
        ["A man in a dark suit with a red bow tie and short hair.",
         "A big grey rabbit with long ears beside its burrow on a green meadow.",
         "Wide street with houses, an iron railing and parked vehicles under a grey sky."]
    )  # fmt: skip
    if random.random() < 0.5:
        facts = replace(case.facts, motion="static")
        fast = "疾驰的汽车飞驰而过。" if _is_chinese(case) else "A car races past at once."
        return replace(case, text=f"{case.text} {fast}", facts=facts, fault="motion")
    return replace(case, text=text, variant="motion-en", structure=None, fault="motion")


FAULTS: dict[str, Fault] = {
    "language": _other_language,
    "length": _length,
    "truncation": _cut,
    "refusal": _prefix(
        "refusal",
        ["I'm sorry, but I can't determine what happens; ", "As an AI language model, I see: ",
         "I am unable to view the frames. Perhaps ", "Unfortunately, no frames were provided; "],
        ["抱歉，我无法查看视频。", "作为一个人工智能语言模型，我认为", "很遗憾，无法识别内容。"],
    ),
    "opener": _prefix(
        "opener",
        ["The video shows ", "In this clip, ", "This short video depicts ", "We can see ",
         "In the scene, we see ", "A video of ", "The footage begins with "],
        ["这个视频展示了", "视频中，", "画面中展示了", "在这段视频里，", "该片段记录了"],
    ),
    "echo": _prefix(
        "echo",
        ["Here is the caption: ", "Short, formal caption: ", "Sure, ", "Caption: ",
         "Based on the structure, "],
        ["以下是描述：", "好的，", "根据提供的结构，", "描述："],
    ),
    "markup": _markup,
    "repetition": _repeat,
    "speculation": _suffix(
        "speculation",
        ["It is unclear where this happens.", "The time of day cannot be determined.",
         "This is possibly a park, and likely it is early."],
        ["具体地点无法确定。", "可能是公园，也许是早晨。"],
    ),
    "camera": _camera,
    "ocr": _suffix(
        "ocr",
        ['A sign reads "OPEN DAILY".', "The word 'Bakery' stands on a wall.",
         "A banner says “Grand Prix 1998”."],
        ["牌子上写着“停车场”。", "墙上有「出口」二字。"],
        texts=("Wehling Street",),
    ),
    "count": _count,
    "color": _color,
    "motion": _no_movement,
    "empty": _empty,
}  # fmt: skip
"""Check -> injects a fault that this check has to find; None where the caption has no room."""


def harmless(random: Random, case: Case) -> Case:
    """The caption with a statement that a careless check takes for a fault."""
    chinese = _is_chinese(case)
    kind = random.randrange(5)
    if kind == 0:
        true = random.choice(list(_MOVES))
        said = _MOVES[true][chinese]
        return _added(case, said, replace(case.facts, camera=(true,)))
    if kind == 1:
        facts = replace(case.facts, texts=("WELC0ME T0 PAR1S", "出 口"))
        return _added(
            case, "牌子写着“出口”。" if chinese else 'A sign reads "Welcome to Paris".', facts
        )
    if kind == 2:
        facts = replace(case.facts, camera=("still",))
        said = (
            "他向左转身，面对镜头。"
            if chinese
            else "Somebody tilts a frying pan left of the camera."
        )
        return _added(case, said, facts)
    if kind == 3:
        said = "另有两只鸟飞过。" if chinese else "Two birds pass and one of them calls."
        return _added(case, said, case.facts)
    said = "镜头没有移动。" if chinese else 'He says "I\'m sorry, I cannot help" and nods.'
    return _added(case, said, case.facts)


def cases(bases: Sequence[Case], seed: int) -> list[Case]:
    """Each base as it is, with something harmless, and with each fault that it has room for."""
    random = Random(seed)
    made: list[Case] = []
    for base in bases:
        made += [base, harmless(random, base), harmless(random, base)]
        made += [each for fault in FAULTS.values() if (each := fault(random, base)) is not None]
    return made


def scores(made: Sequence[Case]) -> dict[str, tuple[int, int, int]]:
    """Check -> faults that it found, faults that it missed, other captions that it flagged."""
    found = [(case, case.findings()) for case in made]
    return {
        name: (
            sum(case.fault == name and name in names for case, names in found),
            sum(case.fault == name and name not in names for case, names in found),
            sum(case.fault != name and name in names for case, names in found),
        )
        for name in FAULTS
    }


def table(rows: Mapping[str, tuple[int, int, int]]) -> str:
    """Precision and recall of each check."""
    lines = [f"{'check':12} faults  recall  precision"]
    for name, (hits, misses, wrong) in rows.items():
        recall, precision = hits / max(hits + misses, 1), hits / max(hits + wrong, 1)
        lines.append(f"{name:12} {hits + misses:6}  {recall:6.3f}  {precision:9.3f}")
    return "\n".join(lines)


def _added(case: Case, sentence: str, facts: MeasuredFacts) -> Case:
    space = "" if _is_chinese(case) else " "
    return replace(case, text=f"{case.text}{space}{sentence}", facts=facts)


def _short(case: Case) -> str:
    return "short-formal-zh" if _is_chinese(case) else "short-formal-en"


def _fitting(case: Case) -> Case:
    """The case as the variant that its length fits."""
    language = "zh" if _is_chinese(case) else "en"
    for length in ("short", "medium", "long"):
        variant = parse_variant(f"{length}-formal-{language}")
        least, most = accepted_length(variant, case.structure or {"": "word " * 40})
        if least <= length_of(case.text, language) <= most:
            return replace(case, variant=variant.name)
    return case


def _is_chinese(case: Case) -> bool:
    return case.variant.endswith("zh")
