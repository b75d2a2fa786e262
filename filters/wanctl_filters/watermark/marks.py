"""Decides which graphics of a source are marks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wanctl.curate.api import Box
from wanctl_filters.shared.cut_away import overlaps
from wanctl_filters.watermark.edge_maps import RIM
from wanctl_filters.watermark.graphics import COLUMNS, Graphic

_MIN_CELLS, _MIN_AREA = 40, 80  # cells; a smaller cluster may be chance
_MIN_DENSITY = 0.17
# A graphic at the frame's edge has more than an outline, which an object cut off there has: it is
# full of edges like an inset picture, or drawn in strokes.
_FULL, _STROKES = 0.4, 1.2
_MIN_CONTRAST = 18.0  # levels; what is fainter is no loss
# Marks have 1.0 to 2.7, clusters of scene edges 0.04 to 0.6 and rarely 0.9.
_MIN_SHARPNESS = 1.0
_RULE = 12  # times as wide as high: a line, no mark
_MAX_WIDTH, _MAX_HEIGHT = 0.45, 0.38  # of the view; inset cameras of game streams have 0.36
_SAME_IOU = 0.5


@dataclass(frozen=True)
class Mark:
    """An overlaid graphic.

    Attributes:
        box: in cells of the grid, or in display pixels.
        steadiness: share of the energy of its edges that never changes, 0..1.
        read: whether `ocr` has read it.
    """

    box: Box
    steadiness: float
    read: bool = False

    def scaled(self, scale: float) -> "Mark":
        """The mark with its box in pixels, of which `scale` make a cell."""
        left, top = round(self.box.x * scale), round(self.box.y * scale)
        right = round((self.box.x + self.box.width) * scale)
        bottom = round((self.box.y + self.box.height) * scale)
        return replace(self, box=Box(left, top, right - left, bottom - top))


@dataclass(frozen=True)
class MarkRules:
    """Thresholds on graphics, see the fields of the filter."""

    min_steady: float
    max_still: float
    corner_share: float


def may_be_marks(numbers: np.ndarray, rules: MarkRules) -> np.ndarray:
    """(M,) bool from the stored numbers of M graphics: the rules that need no view."""
    columns = numbers.reshape(-1, COLUMNS)
    return (
        (columns[:, 4] >= _MIN_CELLS)
        & (columns[:, 5] >= 1e4 * rules.min_steady)
        & (columns[:, 6] >= 10 * _MIN_CONTRAST)
        & (columns[:, 7] >= 100 * _MIN_SHARPNESS)
        & (columns[:, 8] <= 1e6 * rules.max_still)
    )


def marks_among(
    graphics: Sequence[Graphic], view: Box, rules: MarkRules, *, one_scene: bool
) -> list[Mark]:
    """The marks among a clip's or a source's graphics.

    Args:
        graphics: of one clip, or of the scenes of a source together.
        view: the part of the grid that counts.
        rules: thresholds.
        one_scene: whether a line of text may be a subtitle, which stays for one shot.
    """
    open_ = [
        each
        for each in graphics
        if _is_mark(each, view, rules) and not (one_scene and each.in_line)
    ]
    marks: list[Mark] = []
    while open_:
        # one mark was found at several levels: the largest box that it still fills
        # one mark is found at several levels: more cells are better, scene between them is not
        whole = max(open_, key=lambda each: each.cells * each.density)
        marks.append(Mark(whole.box, whole.steadiness))
        open_ = [each for each in open_ if not overlaps(each.box, whole.box)]
    return marks


def repeated(marks_of_scenes: Sequence[Sequence[Mark]]) -> list[Mark]:
    """Marks that several scenes have at the same place, each found in its own scene."""
    kept: list[Mark] = []
    for scene, marks in enumerate(marks_of_scenes):
        others = [
            mark for place, each in enumerate(marks_of_scenes) if place > scene for mark in each
        ]
        for mark in marks:
            seen = any(_iou(mark.box, other.box) >= _SAME_IOU for other in others)
            if seen and not any(overlaps(mark.box, one.box) for one in kept):
                kept.append(mark)
    return kept


def apart(marks: Sequence[Mark], others: Sequence[Mark]) -> list[Mark]:
    """The marks that overlap none of the others."""
    return [mark for mark in marks if not any(overlaps(mark.box, one.box) for one in others)]


def _is_mark(graphic: Graphic, view: Box, rules: MarkRules) -> bool:
    box = graphic.box
    return (
        graphic.cells >= _MIN_CELLS
        and box.width * box.height >= _MIN_AREA
        and graphic.density >= _MIN_DENSITY
        and graphic.contrast >= _MIN_CONTRAST
        and graphic.sharpness >= _MIN_SHARPNESS
        and graphic.steadiness >= rules.min_steady
        and graphic.others <= rules.max_still
        and may_be_mark(box, view, rules)
        and (graphic.density >= _FULL or graphic.sharpness >= _STROKES or not _at_edge(box, view))
    )


def may_be_mark(box: Box, view: Box, rules: MarkRules) -> bool:
    """Whether a mark may have this size and place."""
    return (
        box.width <= min(_RULE * box.height, _MAX_WIDTH * view.width)
        and box.height <= _MAX_HEIGHT * view.height
        and overlaps(box, view)
        and _in_corner(box, view, rules.corner_share)
    )


def _at_edge(box: Box, view: Box) -> bool:
    near = RIM + 1
    return (
        box.x <= view.x + near
        or box.y <= view.y + near
        or box.x + box.width >= view.x + view.width - near
        or box.y + box.height >= view.y + view.height - near
    )


def near_side(box: Box, view: Box, share: float) -> bool:
    """Whether the middle of a box is within a share of the height from the top or the bottom."""
    down = (box.y + box.height / 2 - view.y) / max(1, view.height)
    return min(down, 1 - down) <= share


def _in_corner(box: Box, view: Box, share: float) -> bool:
    across = (box.x + box.width / 2 - view.x) / view.width
    down = (box.y + box.height / 2 - view.y) / view.height
    return max(min(across, 1 - across), min(down, 1 - down)) <= share


def _iou(one: Box, other: Box) -> float:
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, across) * max(0, down)
    return shared / (one.width * one.height + other.width * other.height - shared)
