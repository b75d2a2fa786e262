"""Follows text over the samples of a clip: same place and same strokes are one track.

Overlaid text is constant pixel for pixel while it is shown. Boxes alone do not show that:
detectors join and split words differently in every frame, and a sign drifts slowly under a panning
camera. So the gradients under a polygon are compared with those of the neighbouring samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wanctl_filters.ocr.polygons import Bounds, Polygon, bounds

_SAME = 0.6  # correlation of strokes; measured 0.8 to 1.0 for overlays, below 0.45 for scene text
_OVERLAP = 0.6  # of the smaller box; detectors split one line differently in every frame
_BLOCK = 16  # px, of the grid on which motion of the whole frame is measured
_CHANGED = 6.0  # luma levels; noise and coding move the mean of a block by 2 at most
_EQUAL = 3.0  # luma levels of no block differ by more: the same text is shown


@dataclass
class Track:
    """Text that stands in one place with the same strokes.

    Attributes:
        polygon: the largest that the detector drew around it, in pixels of the samples.
        anchor: sample in which that polygon was detected.
        first: first sample that shows it.
        last: last sample that shows it.
        matches: number of samples between the two, both included, that show it.
    """

    polygon: Polygon
    anchor: int
    first: int
    last: int
    matches: int


class Samples:
    """The luma of a clip's samples and what is derived from it, each computed once.

    Args:
        luma: (N, H, W) uint8.
    """

    def __init__(self, luma: np.ndarray) -> None:
        self.luma = luma
        self._edges: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.luma)

    def edges(self, index: int) -> np.ndarray:
        """(H, W) float32 gradient magnitude of one sample."""
        import cv2

        if index not in self._edges:
            across = cv2.Sobel(self.luma[index], cv2.CV_32F, 1, 0)
            down = cv2.Sobel(self.luma[index], cv2.CV_32F, 0, 1)
            self._edges[index] = cv2.magnitude(across, down)
        return self._edges[index]

    @cached_property
    def blocks(self) -> np.ndarray:
        """(N, h, w) float32 mean luma of blocks of `_BLOCK` pixels."""
        import cv2

        _, height, width = self.luma.shape
        size = (max(1, width // _BLOCK), max(1, height // _BLOCK))
        means = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in self.luma]
        return np.stack(means).astype(np.float32)

    def moving(self, one: int, other: int) -> float:
        """Share of the frame's blocks that differ between two samples, 0 to 1."""
        return float((np.abs(self.blocks[one] - self.blocks[other]) >= _CHANGED).mean())

    def equal(self, one: int, other: int) -> bool:
        """Whether two samples show the same picture, so that text need not be detected again."""
        return bool((np.abs(self.blocks[one] - self.blocks[other]) < _EQUAL).all())


def follow(samples: Samples, detected: Sequence[tuple[int, Sequence[Polygon]]]) -> list[Track]:
    """Tracks of all detected text, in the order of their first detection.

    Args:
        samples: of one clip.
        detected: (sample, its polygons), in the order of time.
    """
    tracks: list[Track] = []
    for index, polygons in detected:
        alive = [track for track in tracks if track.first <= index <= track.last]
        for polygon in polygons:
            box = bounds(polygon)
            mine = next((track for track in alive if _covers(bounds(track.polygon), box)), None)
            if mine is None:
                tracks.append(_followed(samples, polygon, index))
            elif _area(box) > _area(bounds(mine.polygon)):
                mine.polygon, mine.anchor = polygon, index
    return tracks


def track_of(tracks: Sequence[Track], index: int, polygon: Polygon) -> int | None:
    """The place among the tracks of the one that a polygon detected in a sample belongs to."""
    box = bounds(polygon)
    for at, track in enumerate(tracks):
        if track.first <= index <= track.last and _covers(bounds(track.polygon), box):
            return at
    return None


def _followed(samples: Samples, polygon: Polygon, index: int) -> Track:
    place = region(polygon, samples.luma.shape[1:])
    strokes = samples.edges(index)[place]
    ends, matches = [], 1
    for step in (-1, 1):
        end, other, missed = index, index + step, 0
        while 0 <= other < len(samples) and missed < 2:
            if correlation(strokes, samples.edges(other)[place]) >= _SAME:
                end, matches, missed = other, matches + 1, 0
            else:
                missed += 1  # a flash or a person before it hides it for one sample
            other += step
        ends.append(end)
    return Track(polygon, index, ends[0], ends[1], matches)


def _covers(one: Bounds, other: Bounds) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    if across <= 0 or down <= 0:
        return False
    # a word within its line is the same text; two lines of a block are not
    low = min(one.bottom - one.top, other.bottom - other.top)
    return across * down >= _OVERLAP * min(_area(one), _area(other)) and down >= _OVERLAP * low


def _area(box: Bounds) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def region(polygon: Polygon, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a polygon's rectangle in a (height, width) frame; never empty."""
    height, width = shape
    box = bounds(polygon)
    left, top = min(max(0, int(box.left)), width - 1), min(max(0, int(box.top)), height - 1)
    right = min(max(left + 1, int(box.right) + 1), width)
    bottom = min(max(top + 1, int(box.bottom) + 1), height)
    return slice(top, bottom), slice(left, right)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two cutouts of equal shape, -1 to 1; 0 where one of them is flat."""
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / norm if norm > 0 else 0.0
