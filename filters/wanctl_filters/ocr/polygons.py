"""Polygons around text: their coverage, clipping and joining."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np

from wanctl.curate.api import ClipBatch

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
    boxes = [bounds(polygon) for polygon in polygons]
    if not any(_overlap(one, other) for one, other in combinations(boxes, 2)):
        # a raster is needed for the union of overlapping ones only, which are rare
        areas = [cv2.contourArea(np.array(each, np.float32).reshape(-1, 2)) for each in polygons]
        return sum(areas) / (width * height)
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


def _overlap(one: Bounds, other: Bounds) -> bool:
    return (
        one.left < other.right
        and other.left < one.right
        and one.top < other.bottom
        and other.top < one.bottom
    )


def _meet(one: Bounds, other: Bounds) -> bool:
    # lines of one block are half a line apart
    room = 0.5 * min(one.bottom - one.top, other.bottom - other.top)
    return (
        one.left < other.right + room
        and other.left < one.right + room
        and one.top < other.bottom + room
        and other.top < one.bottom + room
    )


def plausible(polygons: Sequence[Polygon], limit: float) -> list[Polygon]:
    """The polygons whose rectangle covers at most `limit` pixels."""
    return [polygon for polygon in polygons if _area(bounds(polygon)) <= limit]


def among(polygons: Sequence[Polygon], boxes: np.ndarray) -> list[Polygon]:
    """The polygons whose middle is in one of the (M, 4) boxes: left, top, right, bottom."""
    kept = []
    for polygon in polygons:
        box = bounds(polygon)
        middle = np.array([box.left + box.right, box.top + box.bottom]) / 2
        if ((boxes[:, :2] <= middle) & (middle <= boxes[:, 2:])).all(axis=1).any():
            kept.append(polygon)
    return kept


def _area(box: Bounds) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def polygon_areas(batch: ClipBatch) -> np.ndarray:
    """(N,) pixels of the bounding boxes of all polygons of a clip, as the mean over its frames.

    An upper bound for the area that they cover; 0 where there are none.
    """
    import pyarrow as pa

    column = batch.evidence["polygons"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    clips, frames = column.offsets.to_numpy(), column.values.offsets.to_numpy()
    points = column.values.values.offsets.to_numpy()
    corners = column.values.values.values.to_numpy()[points[0] : points[-1]].reshape(-1, 2)
    starts = (points[:-1] - points[0]) // 2
    areas = np.zeros(len(starts))
    if len(starts):
        sizes = np.maximum.reduceat(corners, starts) - np.minimum.reduceat(corners, starts)
        areas = sizes.astype(np.float64).prod(axis=1)
    total = np.concatenate([[0.0], np.cumsum(areas)])[frames[clips]]
    return np.diff(total) / np.maximum(np.diff(clips), 1)
