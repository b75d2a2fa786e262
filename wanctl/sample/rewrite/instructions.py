"""What a language model is told when it rewrites a prompt.

The order (style, summary, detail), the length, natural motion, and camera moves and quoted text
that are kept, are those of the Wan report's prompt alignment (arXiv 2503.20314, section 4.5); the
words are ours. A changed word makes a new key, so that no answer to older instructions is used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wanctl.sample.rewrite.checks import TARGET
from wanctl.sample.rewrite.question import Language, Picture

PARTS = ("style", "summary", "detail")
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string", "minLength": 1} for name in PARTS},
    "required": list(PARTS),
    "additionalProperties": False,
}
"""The three parts of a rewritten prompt, which is their text in this order."""

_ENGLISH = """\
You write prompts for a text-to-video model. You get a short request and expand it into the kind of
description that the model was trained with. Answer in three parts, all in English:
- style: the look of the footage in a few words, with a full stop, such as "Documentary \
photography." or "Hand-drawn 2D animation." Take it from the request; if it names none, choose \
realistic documentary footage.
- summary: one sentence that says who or what does what, and where.
- detail: three or four sentences on how the subjects look, how they move, what is around them, the
light and colours, the shot size, the angle and the camera.
Rules:
- The three parts together have {low} to {high} words.
- Keep the meaning. Every subject, number, colour, action, place and order of events of the request
stays as it is. Add what fits and contradict nothing.
- Give each subject motion that is natural for its kind: how this animal walks, how this cloth
falls, how a person's hands and eyes move while doing this.
- Keep every word about the camera, with its direction. If there is none, say a shot size and a
camera that stands still or moves slowly.
- Text in quotation marks is copied letter by letter, in its language, in quotation marks.
- Say only what can be seen. No sounds, no thoughts, no comments, nothing that is absent."""

_CHINESE = """\
你为文本生成视频的模型撰写提示词。你会得到一句简短的要求，请把它扩写成模型训练时所用的那种画面描述。\
分三部分作答，全部使用中文：
- style：用几个字说明画面风格，以句号结尾，例如“纪实摄影风格。”或“手绘二维动画风格。”\
要求里有风格就沿用；没有就用写实的纪实风格。
- summary：一句话，说明谁或什么在哪里做什么。
- detail：三到四句，说明主体的外观、动作，周围环境，光线与色彩，景别、角度与镜头。
规则：
- 三部分合计 {low} 至 {high} 个字。
- 保持原意。要求中的每个主体、数量、颜色、动作、地点和事件顺序都不变；只补充相称的内容，不与之矛盾。
- 给每个主体符合其类别的自然动作：这种动物怎样走，这种布料怎样垂落，人做这件事时手和眼睛怎样动。
- 保留所有关于镜头运动的词语及其方向；如果没有，就写明景别，并让镜头静止或缓慢移动。
- 引号中的文字逐字照抄，不翻译，并保留引号。
- 只写看得见的内容，不写声音、心理、评论，也不写画面中没有的东西。"""

_SEEN = {
    "en": (
        "The request comes with pictures; the video has to agree with them. Subjects, clothes, "
        "colours, place, light and style are those of the pictures, and where the request is "
        "silent, describe what they show. Write above all what moves, and how it goes on "
        "from there."
    ),
    "zh": (
        "要求附有图片，视频必须与图片一致：主体、服装、颜色、地点、光线和风格都以图片为准；"
        "要求没有说到的，按图片描述。重点写什么在动，以及接下来怎样变化。"
    ),
}
_ROLES = {
    "en": {
        "first": "the first frame of the video",
        "last": "the last frame of the video: say how the scene gets there",
        "known": "frame {frame} of the video",
        "goes_on": "the frame from which the video goes on",
        "subject": "a subject that the video shows, not a frame of it",
    },
    "zh": {
        "first": "视频的第一帧",
        "last": "视频的最后一帧，请写出画面如何变化到这一帧",
        "known": "视频的第 {frame} 帧",
        "goes_on": "视频由此继续的一帧",
        "subject": "视频中要出现的主体，不是视频的一帧",
    },
}
_LABELS = {
    "en": ("Picture {number}: {role}.", "Request: "),
    "zh": ("图{number}：{role}。", "要求："),
}
_AGAIN = {
    "en": "\n\nYour last answer cannot be used: {reasons}. Answer once more and mend that.",
    "zh": "\n\n上一次的回答不能使用：{reasons}。请改正后重新回答。",
}


def system_text(language: Language, has_pictures: bool) -> str:
    """The instructions for one language."""
    low, high = TARGET[language]
    text = {"en": _ENGLISH, "zh": _CHINESE}[language].format(low=low, high=high)
    return f"{text}\n{_SEEN[language]}" if has_pictures else text


def request_text(
    prompt: str, language: Language, pictures: Sequence[Picture], reasons: Sequence[str] = ()
) -> str:
    """What each picture is, the request, and what was wrong with the last answer to it."""
    line, title = _LABELS[language]
    shown = [
        line.format(number=number, role=_ROLES[language][each.role].format(frame=each.frame))
        for number, each in enumerate(pictures, 1)
    ]
    text = "\n".join([*shown, f"{title}{prompt}"])
    return text + _AGAIN[language].format(reasons="; ".join(reasons)) if reasons else text
