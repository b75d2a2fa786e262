"""The largest rectangle of a view that excludes boxes."""

from collections.abc import Sequence
from itertools import product

from wanctl.curate.api import Box

_MOST = 5  # boxes for which all four sides are tried; others are cut at the cheapest side


def cut_away(boxes: Sequence[Box], view: Box) -> Box:
    """The largest part of `view` that overlaps none of the boxes, by cropping whole margins.

    Each box is removed with a margin on one side. A box outside the view costs nothing.
    """
    sides = [_sides(box, view) for box in boxes if overlaps(box, view)]
    sides.sort(key=lambda cuts: -min(_loss(cut, view) for cut in cuts))
    choices = [cuts if index < _MOST else [min(cuts, key=lambda cut: _loss(cut, view))]
               for index, cuts in enumerate(sides)]  # fmt: skip
    best = Box(view.x, view.y, 0, 0)
    for chosen in product(*choices):
        left, top, right, bottom = (max((cut[i] for cut in chosen), default=0) for i in range(4))
        width, height = view.width - left - right, view.height - top - bottom
        if width > 0 and height > 0 and width * height > best.width * best.height:
            best = Box(view.x + left, view.y + top, width, height)
    return best


def overlaps(one: Box, other: Box) -> bool:
    """Whether two boxes share an area."""
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def _sides(box: Box, view: Box) -> list[tuple[int, int, int, int]]:
    """Four alternatives: pixels to crop at (left, top, right, bottom) to exclude the box."""
    return [
        (box.x + box.width - view.x, 0, 0, 0),
        (0, box.y + box.height - view.y, 0, 0),
        (0, 0, view.x + view.width - box.x, 0),
        (0, 0, 0, view.y + view.height - box.y),
    ]


def _loss(cut: tuple[int, int, int, int], view: Box) -> float:
    return (cut[0] + cut[2]) / view.width + (cut[1] + cut[3]) / view.height
