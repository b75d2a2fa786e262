"""Answers that are valid for any schema of `wanctl/caption/structured/schema.py`.

Subjects, colours and places are drawn by the clip's id, so that two clips have different captions
and the structure and the captions of one clip agree.
"""

import json
import random
import re

from wanctl.caption.structured.schema import CLIP_ID

WORDS = {"long": 90, "medium": 45, "short": 15, "motion": 25}
"""Words of an English caption; a Chinese one has twice as many characters."""

_SUBJECTS = {
    "dog": "狗", "cat": "猫", "horse": "马", "boat": "小船", "bus": "巴士", "kite": "风筝",
    "crane": "起重机", "dancer": "舞者", "cyclist": "骑手", "robot": "机器人", "heron": "苍鹭",
    "train": "火车", "balloon": "气球", "turtle": "乌龟", "drummer": "鼓手", "tractor": "拖拉机",
}  # fmt: skip
_COLORS = {
    "red": "红色", "green": "绿色", "blue": "蓝色", "white": "白色", "brown": "棕色",
    "orange": "橙色", "grey": "灰色", "yellow": "黄色",
}  # fmt: skip
_PLACES = {
    "a harbour": "港口", "a meadow": "草地", "a street": "街道", "a hall": "大厅",
    "a beach": "海滩", "a forest": "森林", "a square": "广场", "a bridge": "桥上",
}  # fmt: skip
_ACTIONS = {
    "moves forward": "向前移动", "turns around": "转过身来", "rests": "静静休息",
    "rises slowly": "慢慢升起", "crosses the path": "穿过小路", "waits": "等待着",
}  # fmt: skip
_DETAILS = (
    ("Soft light falls on its {color} surface", "柔和的光落在{color}的表面"),
    ("Behind it {place} stretches into the distance", "后面的{place}一直延伸到远方"),
    ("Small shadows lie beneath the {subject}", "细小的影子落在{subject}下面"),
    ("The air looks calm and clear", "空气显得平静而清澈"),
    ("Fine textures are visible near the edges", "边缘处可以看到细腻的纹理"),
    ("A pale sky closes the view", "淡淡的天空在画面尽头"),
    ("Nearby stones and leaves frame the {subject}", "旁边的石头和树叶围绕着{subject}"),
    ("Its outline stays sharp against the background", "它的轮廓在背景前十分清楚"),
    ("Gentle contrasts give {place} some depth", "轻微的对比让{place}有了层次"),
    ("Nothing else disturbs the quiet mood", "没有别的东西打扰安静的气氛"),
    ("The colours remain warm and natural", "颜色温暖而自然"),
    ("Dust glitters for a moment", "尘埃闪烁了一会儿"),
)


def schema_of(request: dict) -> dict | None:
    """The JSON schema of a request: of its `response_format`, or written in its prompt."""
    formatted = request.get("response_format") or {}
    if formatted.get("type") == "json_schema":
        return formatted["json_schema"]["schema"]
    for start in re.finditer(r"\{", text_of(request)):
        try:
            found, _ = json.JSONDecoder().raw_decode(text_of(request)[start.start() :])
        except ValueError:
            continue
        if isinstance(found, dict) and CLIP_ID in found.get("properties", {}):
            return found
    return None


def text_of(request: dict) -> str:
    """All text of a request's messages."""
    pieces = []
    for message in request["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        pieces += [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(pieces)


def clip_of(request: dict) -> str:
    """The id of the clip that a request is about; "" where it has no schema."""
    schema = schema_of(request) or {}
    return schema.get("properties", {}).get(CLIP_ID, {}).get("const", "")


def structured_answer(request: dict) -> str:
    """JSON text that is valid for the request's schema; a sentence where it has none."""
    schema = schema_of(request)
    if schema is None:
        return "A dog runs across a meadow."
    drawn = random.Random(clip_of(request))
    subject, color, place, action = (
        drawn.choice(list(table)) for table in (_SUBJECTS, _COLORS, _PLACES, _ACTIONS)
    )
    known = {
        "subjects": [f"a {color} {subject}"],
        "action": [f"the {subject} {action}"],
        "event": [],
        "camera_angle": "eye level",
        "camera_motion": ["unclear"],
        "object_category": [subject],
        "object_color": [{"object": subject, "color": color}],
        "object_counting": [],
        "ocr_text": [],
        "scene": place,
        "style": "realistic",
        "lighting": "soft light",
        "mood": "calm",
    }
    facts = (subject, color, place, action)
    answer = {
        name: value["const"]
        if "const" in value
        else known.get(name) or _caption(name, facts)
        if value.get("type") == "string"
        else known.get(name, [])
        for name, value in schema["properties"].items()
    }
    return json.dumps(answer, ensure_ascii=False)


def _caption(variant: str, facts: tuple[str, str, str, str]) -> str:
    """A caption of the variant's length and language."""
    subject, color, place, action = facts
    drawn = random.Random(f"{variant} {facts}")
    details = list(_DETAILS)
    drawn.shuffle(details)
    goal = WORDS[variant.split("-")[0]]
    if variant.endswith("zh"):
        words = {"subject": _SUBJECTS[subject], "color": _COLORS[color], "place": _PLACES[place]}
        text = f"{words['color']}的{words['subject']}在{words['place']}{_ACTIONS[action]}。"
        while details and len(text) < 2 * goal:
            text += details.pop()[1].format(**words) + "。"
        return text
    words = {"subject": subject, "color": color, "place": place}
    text = f"A {color} {subject} {action} in {place}."
    while details and len(text.split()) < goal:
        text += " " + details.pop()[0].format(**words) + "."
    return text
