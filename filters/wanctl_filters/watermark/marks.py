"""Finds marks among the standing edges that the scenes of a source have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wanctl.curate.api import Box
from wanctl_filters.shared.cut_away import overlaps
from wanctl_filters.watermark.standing_edges import COARSE, MIN_EDGE, UNIT, Edges

_RIM = 2  # cells along the frame's edge that are ignored: footage often has artefacts there
_MIN_EDGES = 24  # cells
_MIN_SIDE, _MIN_AREA = 5, 100  # cells
_SPARSE, _DETAILED = 0.06, 0.5  # share of a box's cells that are edges
_SURE = 0.93  # steadiness of a solid mark; edges of a scene that moves at all have 0.85 and less
_LOOSE = 0.85
_CHANCE = 0.06  # added to `min_steady` for one clip, in which scene edges may be steady by chance
_LIVELY = 3.0  # times `min_change` around a mark are enough evidence from a single clip
_OTHER_SCENE = 0.6  # share of the frame that differs; takes of one scene have 0.5 and less
_ENOUGH_SCENES = 64  # more do not change the result


@dataclass(frozen=True)
class Mark:
    """Edges that stand still where the frame around them changes.

    Attributes:
        box: in cells of the grid.
        steadiness: mean over its edges of the share of their energy that never changes, 0..1.
        around: median change over time (luma levels) in the ring around it.
    """

    box: Box
    steadiness: float
    around: float


def moving_share(edges: Edges, min_change: float) -> float:
    """Share of the frame that changes by at least `min_change` luma levels."""
    return float((edges.spread >= UNIT * min_change).mean()) if len(edges.spread) else 0.0


def scenes_of(clips: Sequence[Edges], min_change: float) -> list[Edges]:
    """The clip with most motion of each scene, in descending order of motion.

    Clips of one camera position share static objects, so that more of them add no evidence.
    """
    kept: list[Edges] = []
    for clip in sorted(clips, key=lambda each: -moving_share(each, min_change)):
        if len(kept) == _ENOUGH_SCENES:
            break
        steps = (np.abs(each.luma - clip.luma) for each in kept)
        if all((step >= 2 * min_change).mean() > _OTHER_SCENE for step in steps):
            kept.append(clip)
    return kept


def find_marks(
    clips: Sequence[Edges],
    size: tuple[int, int],
    view: Box,
    *,
    min_steady: float,
    min_change: float,
) -> list[Mark]:
    """Marks that the scenes of one source have in common.

    Args:
        clips: one of each scene.
        size: width and height of the grid.
        view: the part of the grid to search.
        min_steady: share of an edge's energy that must be the same in all frames of all clips.
        min_change: luma levels by which the ring around a mark must change.
    """
    width, height = size
    steady, strong = (part.reshape(height, width) for part in _pooled(clips, width * height))
    inner = np.zeros_like(strong)
    inner[
        view.y + _RIM : view.y + view.height - _RIM, view.x + _RIM : view.x + view.width - _RIM
    ] = True
    strong &= inner
    moving = _movement(clips, size)
    marks: list[Mark] = []
    # a mark that is connected to scene edges at a low level may be separate at a higher one
    for level in (min_steady, (1 + min_steady) / 2, _SURE):
        for part in _parts(strong & (steady >= level), size):
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            box = _box(columns, rows)
            own = float(steady[part].mean())
            around = float(np.median(_ring(moving, box)))
            least = min_steady
            if len(clips) == 1:
                # one clip cannot separate a mark from a scene with little motion, or from chance
                least = _SURE if around < _LIVELY * min_change else min_steady + _CHANCE
            if own < least:
                continue
            density = part.sum() / (box.width * box.height)
            # in one clip an object that the frame's edge cuts off looks like a mark, unless it is
            # full of detail
            detailed = own >= _SURE and density >= _DETAILED and around >= 2 * min_change
            if len(clips) == 1 and not detailed and _cut_off(box, view):
                continue
            if not _is_compact(box, density, view):
                continue
            if any(overlaps(box, mark.box) for mark in marks):
                continue
            others = steady[strong & ~part]
            # before a plain background nothing changes; there the other edges have to move
            alone = own >= _SURE and len(others) > 0 and float(np.median(others)) <= _LOOSE
            if around >= min_change or alone:
                marks.append(Mark(box, own, around))
    return marks


def _parts(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """(H, W) bool masks of clusters of nearby edges, such as the letters of a word."""
    import cv2

    reach = max(3, round(0.016 * max(size))) | 1
    joined = cv2.dilate(mask.astype(np.uint8), np.ones((reach, 2 * reach + 1), np.uint8))
    count, parts = cv2.connectedComponents(joined, connectivity=8)
    counts = np.bincount(parts[mask], minlength=count)
    return [mask & (parts == part) for part in range(1, count) if counts[part] >= _MIN_EDGES]


def _pooled(clips: Sequence[Edges], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count,) share of each cell's energy that is common to all clips, and where it is strong."""
    cells = np.concatenate([clip.cells for clip in clips])
    gradient = np.concatenate([clip.gradient for clip in clips]).reshape(-1, 4) / UNIT
    energy = np.concatenate([clip.energy for clip in clips])

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(cells, values, minlength=count) / len(clips)

    strength = sum((mean(column) ** 2 for column in gradient.T), np.zeros(count))
    return strength / np.maximum(mean(energy), 1.0), strength >= MIN_EDGE**2


def _movement(clips: Sequence[Edges], size: tuple[int, int]) -> np.ndarray:
    """(H, W) luma change over time and from clip to clip, in levels, on the coarse grid."""
    shape = (max(1, size[1] // COARSE), max(1, size[0] // COARSE))
    within = np.mean([(clip.spread / UNIT) ** 2 for clip in clips], axis=0)
    between = np.var([clip.luma for clip in clips], axis=0)
    return np.sqrt(within + between).reshape(shape)


def _box(columns: np.ndarray, rows: np.ndarray) -> Box:
    """The box of a mark from its edge cells, which reach one cell further on all sides."""
    left, top = int(columns[0]) + 1, int(rows[0]) + 1
    return Box(left, top, max(1, int(columns[-1]) - left), max(1, int(rows[-1]) - top))


def _is_compact(box: Box, density: float, view: Box) -> bool:
    """Whether a box has the size and shape of a mark: not tiny, not a line, not half the frame."""
    small = min(box.width, box.height) < _MIN_SIDE or box.width * box.height < _MIN_AREA
    rule = box.width > 8 * box.height
    large = box.width > 0.45 * view.width or box.height > 0.35 * view.height
    return not (small or rule or large or density < _SPARSE)


def _cut_off(box: Box, view: Box) -> bool:
    near = _RIM + 1
    return (
        box.x <= view.x + near
        or box.y <= view.y + near
        or box.x + box.width >= view.x + view.width - near
        or box.y + box.height >= view.y + view.height - near
    )


def _ring(moving: np.ndarray, box: Box) -> np.ndarray:
    """The coarse cells around a box."""
    height, width = moving.shape
    left, top = max(0, box.x // COARSE - 1), max(0, box.y // COARSE - 1)
    right = min(width, (box.x + box.width - 1) // COARSE + 2)
    bottom = min(height, (box.y + box.height - 1) // COARSE + 2)
    around = np.zeros(moving.shape, dtype=bool)
    around[top:bottom, left:right] = True
    # cells that the mark fills are excluded, as they stand still
    inner = (slice(top + 1, bottom - 1), slice(left + 1, right - 1))
    around[inner] = False
    return moving[around] if around.any() else moving[top:bottom, left:right].ravel()
