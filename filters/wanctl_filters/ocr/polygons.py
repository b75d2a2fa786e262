"""Polygons around text: their coverage, and which are subtitles by position."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

Polygon: TypeAlias = Sequence[float]
"""Flat [x0, y0, x1, y1, ...]."""

_RASTER_PX = 1024  # long side of the mask; a line's coverage is then exact to about 1 % of itself


class Bounds(NamedTuple):
    """Axis-aligned bounds of a polygon."""

    left: float
    top: float
    right: float
    bottom: float


def bounds(polygon: Polygon) -> Bounds:
    """Axis-aligned bounding box of a polygon."""
    xs, ys = polygon[0::2], polygon[1::2]
    return Bounds(min(xs), min(ys), max(xs), max(ys))


def coverage(polygons: Sequence[Polygon], width: float, height: float) -> float:
    """Share of a frame under the union of polygons, 0 to 1."""
    import cv2

    if not polygons:
        return 0.0
    scale = _RASTER_PX / max(width, height)
    mask = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))), np.uint8)
    for polygon in polygons:
        points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2) * scale
        # fillPoly fills the outline too; moving it inward by half a pixel corrects the area
        points -= 0.5 + 0.5 * np.sign(points - points.mean(axis=0))
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return cv2.countNonZero(mask) / mask.size


def tightened(polygon: Polygon, room_px: float, share: float) -> list[float]:
    """Shrink a polygon around a line of text by the margin that the detector adds around the ink.

    Args:
        polygon: of a line, at any angle.
        room_px: margin on every side, in pixels.
        share: further margin, as a share of the polygon's height.
    """
    import cv2

    points = np.asarray(polygon, dtype=np.float32).reshape(-1, 2)
    centre, (one, other), angle = cv2.minAreaRect(points)
    room = 2 * (room_px + share * min(one, other))
    corners = cv2.boxPoints((centre, (max(one - room, 0.0), max(other - room, 0.0)), angle))
    return [float(value) for value in corners.ravel()]


def within(
    frames: Sequence[Sequence[Polygon]], *, x: float, y: float, width: float, height: float
) -> list[list[Polygon]]:
    """The polygons clipped to a part of the frame, whose corner becomes the origin.

    Polygons without an area left stay in the lists, so that indices do not change.
    """
    return [
        [
            [
                min(max(value - (x, y)[index % 2], 0.0), (width, height)[index % 2])
                for index, value in enumerate(polygon)
            ]
            for polygon in frame
        ]
        for frame in frames
    ]


def joined(frames: Sequence[Sequence[Polygon]]) -> list[Bounds]:
    """Disjoint axis-aligned rectangles that contain all polygons of all frames."""
    joined_boxes: list[Bounds] = []
    for box in (bounds(polygon) for frame in frames for polygon in frame):
        if box.right <= box.left or box.bottom <= box.top:
            continue
        # a merged rectangle may touch another one
        while meeting := [other for other in joined_boxes if _meet(box, other)]:
            joined_boxes = [other for other in joined_boxes if other not in meeting]
            parts = [box, *meeting]
            box = Bounds(
                min(part.left for part in parts),
                min(part.top for part in parts),
                max(part.right for part in parts),
                max(part.bottom for part in parts),
            )
        joined_boxes.append(box)
    return joined_boxes


def _meet(one: Bounds, other: Bounds) -> bool:
    # lines of one block are half a line apart
    room = 0.5 * min(one.bottom - one.top, other.bottom - other.top)
    return (
        one.left < other.right + room
        and other.left < one.right + room
        and one.top < other.bottom + room
        and other.top < one.bottom + room
    )


def captioned(
    frames: Sequence[Sequence[Polygon]], *, width: float, height: float
) -> list[list[float]]:
    """For each polygon that belongs to a subtitle line: the share of frames with that line.

    Subtitles change their words and so their width, but stay centred in the lower part of the
    frame, on one line. Detectors split a line at wide gaps, so the line's parts are joined first.
    Polygons elsewhere get 0.
    """
    boxes = [[bounds(polygon) for polygon in frame] for frame in frames]
    lines = [
        [line for line in _lines(frame) if _sits_like_caption(line, width, height)]
        for frame in boxes
    ]
    return [
        [
            sum(any(_same_line(box, line) for line in row) for row in lines) / len(lines)
            if any(_same_line(box, line) for line in own)
            else 0.0
            for box in frame
        ]
        for frame, own in zip(boxes, lines, strict=True)
    ]


def plausible(
    frames: Sequence[Sequence[Polygon]], *, width: float, height: float, max_share: float
) -> list[list[Polygon]]:
    """The polygons that cover at most `max_share` of the frame."""
    limit = max_share * width * height
    return [[polygon for polygon in frame if _area(bounds(polygon)) <= limit] for frame in frames]


def _area(box: Bounds) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def _sits_like_caption(box: Bounds, width: float, height: float) -> bool:
    centred = abs((box.left + box.right) / 2 - width / 2) <= 0.1 * width
    return centred and (box.top + box.bottom) / 2 >= 0.6 * height


def _lines(boxes: Sequence[Bounds]) -> list[Bounds]:
    """The bounding box of each line, from boxes of its parts."""
    lines: list[Bounds] = []
    for box in sorted(boxes, key=lambda box: box.left):
        for index, line in enumerate(lines):
            if _same_line(box, line):
                lines[index] = Bounds(
                    line.left,
                    min(line.top, box.top),
                    max(line.right, box.right),
                    max(line.bottom, box.bottom),
                )
                break
        else:
            lines.append(box)
    return lines


def _same_line(one: Bounds, other: Bounds) -> bool:
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared >= 0.5 * min(one.bottom - one.top, other.bottom - other.top)
