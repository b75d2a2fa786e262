"""The tiny demo's captions, with the structures that would hold them, in English and Chinese."""

import json
from pathlib import Path
from typing import Any

from tests.unit.caption.checks.faults import Case

TINY = Path(__file__).parents[4] / "recipes" / "tiny"

# Per caption, in the order of the files: objects with number and colour, a Chinese caption.
_CONTENT: dict[str, list[tuple[dict[str, int], dict[str, str], str]]] = {
    "bigbuckbunny": [
        ({"rabbit": 1}, {"rabbit": "grey", "meadow": "green"},
         "一只大大的灰色的卡通兔子从绿色草地上的洞穴里爬出来，慢慢站起身。"),
        ({"rabbit": 1}, {"rabbit": "grey"},
         "一只大大的灰色的卡通兔子站在洞穴前面，把双臂大大地张开。"),
        ({"rabbit": 1}, {"rabbit": "grey"},
         "一只大大的灰色的卡通兔子在草地上放下双臂，然后抓了抓头。"),
    ],
    "bikes": [
        ({"bus": 1}, {"roof": "white"}, "从正上方看去，一辆公交车的白色车顶沿着道路向前行驶。"),
        ({"man": 1, "taxi": 1}, {"suit": "dark"},
         "一名男子穿着深色西装走过停放的汽车，随后一辆出租车驶过。"),
        ({"cyclist": 1, "bus": 1}, {"bus": "grey"},
         "来往的车流从一名黑衣骑车人身旁经过，他在一辆灰色公交车旁等候。"),
        ({}, {}, "汽车在两旁都是房屋的宽阔街道上行驶，前面是交叉的铁栏杆。"),
        ({"pedestrian": 1, "bicycle": 1}, {},
         "一位行人走过路桩和一辆靠在石墙上的旧自行车。"),
    ],
    "carphone_pristine": [
        ({"man": 1}, {"suit": "dark", "tie": "red"},
         "一名男子穿着深色西装，戴着红色领结，坐在汽车后座上，显得很惊讶。"),
        ({"man": 1}, {"tie": "red"},
         "一名男子戴着红色领结坐在汽车后座上，歪着头对着镜头说话。"),
    ],
}  # fmt: skip


def demo_cases(names: tuple[str, ...]) -> list[Case]:
    """Each caption of these files as a short caption in both languages, and those of each file
    joined to a medium one."""
    made = []
    for name in names:
        texts = [cue["caption"] for cue in json.loads((TINY / f"{name}.json").read_text())["cues"]]
        rows = list(zip(texts, _CONTENT[name], strict=True))
        for english, (counts, colors, chinese) in rows:
            structure = _structure(counts, colors)
            made += [
                Case(english, "short-formal-en", structure),
                Case(chinese, "short-formal-zh", structure),
            ]
        counts = {key: value for _, (each, _, _) in rows for key, value in each.items()}
        colors = {key: value for _, (_, each, _) in rows for key, value in each.items()}
        made.append(Case(" ".join(texts), "medium-formal-en", _structure(counts, colors)))
    return made


def _structure(counts: dict[str, int], colors: dict[str, str]) -> dict[str, Any]:
    shared = {"dark": "black", **{each: each for each in colors.values() if each != "dark"}}
    return {
        "subjects": [], "action": ["word " * 40], "event": [], "camera_motion": [],
        "object_counting": [{"object": name, "count": n} for name, n in counts.items()],
        "object_color": [
            {"object": name, "color": shared[color]} for name, color in colors.items()
        ],
        "ocr_text": [],
    }  # fmt: skip
