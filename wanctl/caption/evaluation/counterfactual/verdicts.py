"""Whether an answer changed the way in which the frames were changed.

Each verdict compares the structure of a clip with one of the changed clip: True or False, or None
where the first structure names nothing that could change.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from wanctl.caption.evaluation.counterfactual.changes import HUE_SHIFT_DEG, Detail
from wanctl.caption.evaluation.labelled.labels import PAIRS, LabelledClip
from wanctl.caption.evaluation.labelled.matching import OCR_THRESHOLD, Matcher, values_of
from wanctl.caption.evaluation.labelled.words import HUES_DEG, bare, colors, edit_similarity, words
from wanctl.caption.structured.schema import DIMENSIONS

Structure = Mapping[str, Any]

_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up", "in": "out", "out": "in"}
_SIDES = frozenset({"left", "right"})
_TEXT_FIELDS = ("subjects", "action", "event", "scene")


def sides_swap(before: Structure, after: Structure) -> bool | None:
    """Mirrored: a camera that goes left goes right; else the words left and right change places."""
    sides = _directions(before) & _SIDES
    if len(sides) == 1:
        return _directions(after) & _SIDES == {_OPPOSITE[side] for side in sides}
    balance = _balance(before)
    return None if balance == 0 else balance * _balance(after) < 0


def time_reverses(before: Structure, after: Structure, matcher: Matcher) -> bool | None:
    """Reversed: the camera goes the opposite way; else the events come in the opposite order."""
    directions = {
        each for each in _directions(before) if _OPPOSITE[each] not in _directions(before)
    }
    if directions:
        now = _directions(after)
        return {_OPPOSITE[each] for each in directions} <= now and not directions & now
    events = values_of("event", before)
    if len(events) < 2:
        return None
    order = [b for _, b in sorted(matcher.pair("event", events, values_of("event", after)))]
    steps = [later - earlier for earlier, later in pairwise(order)]
    return bool(steps) and sum(step < 0 for step in steps) > len(steps) / 2


def motion_vanishes(before: Structure, after: Structure) -> bool | None:
    """Frozen: the camera no longer moves."""
    if not _moves(before):
        return None
    return not _moves(after)


def colors_turn(before: Structure, after: Structure, matcher: Matcher) -> bool | None:
    """Recoloured: the named hue of most coloured objects is nearer to the turned one."""
    colored = [
        (each["object"], hue)
        for each in before.get("object_color") or []
        if (hue := _hue(each["color"])) is not None
    ]
    if not colored:
        return None
    now = after.get("object_color") or []
    pairs = matcher.pair_objects([name for name, _ in colored], [each["object"] for each in now])
    turned = 0
    for a, b in pairs:
        hue, new = colored[a][1], _hue(now[b]["color"])
        if new is not None:
            turned += _angle(new, hue + HUE_SHIFT_DEG) < _angle(new, hue)
    return 2 * turned > len(colored)


def count_follows(
    before: Structure, after: Structure, detail: Detail, matcher: Matcher
) -> bool | None:
    """Copies pasted in: a new object has their number, or a known one that many more."""
    old, new = (each.get("object_counting") or [] for each in (before, after))
    pairs = matcher.pair_objects([each["object"] for each in old], [each["object"] for each in new])
    known = {b: old[a]["count"] for a, b in pairs}
    return any(
        each["count"] - known.get(index, 0) == detail.copies for index, each in enumerate(new)
    )


def string_is_read(after: Structure, detail: Detail) -> bool | None:
    """A string rendered: it is among the read ones, at most a fifth of its characters wrong."""
    return any(
        bare(detail.string) in bare(text) or edit_similarity(text, detail.string) >= OCR_THRESHOLD
        for text in values_of("ocr_text", after)
    )


def belongs_to_other(
    before: Structure, after: Structure, other: Structure, matcher: Matcher
) -> bool | None:
    """Swapped: with another clip's frames the answer is more like that clip's than like its own."""
    return likeness(after, other, matcher) > likeness(after, before, matcher)


def likeness(first: Structure, second: Structure, matcher: Matcher) -> float:
    """Mean F1 of two structures over the dimensions in which either says anything, 0 to 1."""
    label = LabelledClip("", "", None)
    for dimension in DIMENSIONS:
        if dimension in PAIRS:
            key = "color" if dimension == "object_color" else "count"
            label.pairs[dimension] = {
                each["object"]: (str(each[key]),) for each in second.get(dimension) or []
            }
        else:
            label.values[dimension] = [(each,) for each in values_of(dimension, second)]
    counts = matcher.count(label, first)
    said = [
        counts[each].f1 for each in DIMENSIONS if counts[each].expected or counts[each].answered
    ]
    return sum(said) / len(said) if said else 1.0


def _directions(structure: Structure) -> set[str]:
    """Where the camera goes; pan and truck, zoom and push count as one."""
    ends = (each.split()[-1] for each in values_of("camera_motion", structure))
    return {end for end in ends if end in _OPPOSITE}


def _moves(structure: Structure) -> list[str]:
    return [each for each in values_of("camera_motion", structure) if each != "still"]


def _balance(structure: Structure) -> int:
    """How often a structure says right more than left."""
    spoken: Sequence[str] = [
        word
        for field in _TEXT_FIELDS
        for text in values_of(field, structure)
        for word in words(text)
    ]
    return spoken.count("right") - spoken.count("left")


def _hue(color: str) -> int | None:
    """The hue of a colour's name; None where it has none, or several."""
    hues = {hue for each in colors(color) if (hue := HUES_DEG[each]) is not None}
    return hues.pop() if len(hues) == 1 else None


def _angle(first: float, second: float) -> float:
    return abs((first - second + 180) % 360 - 180)
