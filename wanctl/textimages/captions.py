"""Captions of text images: every line is quoted exactly as it was drawn."""

from collections.abc import Sequence

import numpy as np

from wanctl.textimages.drawing import Direction

_BACKGROUNDS = {
    "white": ("a plain white background", "纯白色的背景"),
    "gradient": ("a background of colours that run into each other", "渐变色的背景"),
    "texture": ("a background with a fine texture", "带有细腻纹理的背景"),
    "frame": ("a photograph", "一张照片"),
}
_ENGLISH = (
    "{ink} text on {background} reads {quoted}{how}.",
    "On {background} is written {quoted}{how}, in {ink} letters.",
    "The words {quoted} stand on {background}{how}, in {ink}.",
)
_CHINESE = (
    "{background}，上面{how}写着{ink}的文字{quoted}。",
    "画面是{background}，{ink}的文字{how}写着{quoted}。",
    "{background}上{how}写有{quoted}，文字是{ink}的。",
)
_COLOURS = (
    (0, 0, 0, "black", "黑色"),
    (255, 255, 255, "white", "白色"),
    (128, 128, 128, "grey", "灰色"),
    (200, 30, 30, "red", "红色"),
    (240, 140, 20, "orange", "橙色"),
    (235, 215, 40, "yellow", "黄色"),
    (40, 150, 50, "green", "绿色"),
    (40, 180, 190, "turquoise", "青色"),
    (40, 70, 200, "blue", "蓝色"),
    (130, 50, 170, "purple", "紫色"),
    (230, 120, 180, "pink", "粉色"),
    (110, 70, 35, "brown", "棕色"),
)


def write_captions(
    random: np.random.Generator,
    lines: Sequence[str],
    background: str,
    direction: Direction,
    ink: tuple[int, int, int],
) -> dict[str, str]:
    """Return an English and a Chinese caption of one image, by language.

    Args:
        random: draws the sentence pattern.
        lines: the strings as drawn.
        background: a key of `_BACKGROUNDS`.
        direction: of the text.
        ink: RGB colour of the text.
    """
    english, chinese = _colour(ink)
    between = " and below it " if direction == "horizontal" else " and to its left "
    return {
        "en": _capitalised(
            _ENGLISH[int(random.integers(len(_ENGLISH)))].format(
                ink=english,
                background=_BACKGROUNDS[background][0],
                quoted=between.join(f'"{line}"' for line in lines),
                how=", in a column from top to bottom" if direction == "vertical" else "",
            )
        ),
        "zh": _CHINESE[int(random.integers(len(_CHINESE)))].format(
            ink=chinese,
            background=_BACKGROUNDS[background][1],
            quoted="、".join(f"“{line}”" for line in lines),
            how="竖排" if direction == "vertical" else "",
        ),
    }  # fmt: skip


def _colour(ink: tuple[int, int, int]) -> tuple[str, str]:
    nearest = min(
        _COLOURS, key=lambda row: sum((a - b) ** 2 for a, b in zip(row[:3], ink, strict=True))
    )
    return nearest[3], nearest[4]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
