"""What stands still in a picture that moves: the edges of marks laid over it.

A mark's gradient is the same in every frame while the rest of the picture changes under it. A
clip is boiled down to the few cells whose mean gradient is strong and steady; those of many shots
can then be put together without looking at pictures again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wanctl.curate.api import Box

COARSE = 8  # cells of the grid per cell of the map of movement
_CAP = 48  # levels; a passing headlight must not outweigh all other frames
_MIN_EDGE = 5.0  # levels, of the mean gradient
_MIN_STEADY = 0.3  # of a single clip's cells that are kept
_MAX_CELLS = 2500
_UNIT = 4  # stored parts of a level
_RIM = 2  # cells along the picture's edge that are left out: footage often has a seam there
_MIN_EDGES = 24  # cells
_MIN_SIDE, _MIN_AREA = 5, 100  # cells
_SPARSE, _DETAILED = 0.06, 0.5  # share of a box's cells that are edges
_SURE = 0.93  # steadiness of a solid mark; edges of a scene that moves at all have 0.85 and less
_LOOSE = 0.85
_CHANCE = 0.06  # steadiness that edges of a moving scene reach by chance in one clip
_LIVELY = 3.0  # times `min_change` around a mark leave no doubt that it is not of the scene
_QUANTILES = 1.683  # from the 20th to the 80th percentile of a normal distribution, in deviations


class Edges(NamedTuple):
    """A clip's standing edges, all int64.

    Attributes:
        cells: (K,) row * width + column of the grid.
        gradient: (4 K,) mean gradient, in quarter levels: for each cell along x and y in the red
            plane, then in the blue one. A coloured mark may have the brightness of what is
            behind it, but hardly the red and the blue of it.
        energy: (K,) mean square of the gradient, in levels squared.
        luma: (C,) mean level of each coarse cell, row after row.
        spread: (C,) how much it changes over time, in quarter levels: a standard deviation that
            does not see what passes by.
    """

    cells: np.ndarray
    gradient: np.ndarray
    energy: np.ndarray
    luma: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Mark:
    """Something that stands still where everything around it moves.

    Attributes:
        box: in cells of the grid.
        steadiness: mean over its edges of the share of their energy that never changes, 0..1.
        around: median change over time (luma levels) in the ring around it.
    """

    box: Box
    steadiness: float
    around: float


def standing_edges(frames: np.ndarray) -> Edges:
    """Measure (N, H, W, 3) uint8."""
    import cv2

    planes = [cv2.split(frame) for frame in frames]
    reds, blues = [red for red, _, _ in planes], [blue for _, _, blue in planes]
    mean, energy = _gradients(reds, blues)
    strength = (mean * mean).sum(axis=0)
    kept = (strength >= _MIN_EDGE**2) & (strength >= _MIN_STEADY * energy)
    cells = np.flatnonzero(kept)
    if len(cells) > _MAX_CELLS:
        # the steadiest of the strong ones
        rank = strength.ravel()[cells] ** 2 / energy.ravel()[cells]
        cells = np.sort(cells[np.argpartition(-rank, _MAX_CELLS)[:_MAX_CELLS]])
    coarse = np.stack([_coarse(red) for red in reds]).astype(np.float64)
    low, high = np.quantile(coarse, (0.2, 0.8), axis=0)
    return Edges(
        cells,
        np.rint(_UNIT * mean.reshape(4, -1)[:, cells]).T.ravel().astype(np.int64),
        np.rint(energy.ravel()[cells]).astype(np.int64),
        np.rint(coarse.mean(axis=0)).ravel().astype(np.int64),
        np.rint(_UNIT * (high - low) / _QUANTILES).ravel().astype(np.int64),
    )


def _gradients(
    reds: Sequence[np.ndarray], blues: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(4, H, W) mean over frames of red's and blue's slopes, and (H, W) their mean energy.

    Exact in 16 bits for up to 682 frames: that often fits the cap; four squares of it are 9,216.
    """
    total = np.zeros((4, *reds[0].shape), np.int16)
    energy = np.zeros(reds[0].shape, np.int32)
    slopes = np.zeros_like(total)  # the outermost lines have none
    squares = np.empty_like(total)
    for red, blue in zip(reds, blues, strict=True):
        for pair, plane in zip((slopes[:2], slopes[2:]), (red, blue), strict=True):
            level = plane.astype(np.int16)
            np.subtract(level[:, 2:], level[:, :-2], out=pair[0][:, 1:-1])
            np.subtract(level[2:], level[:-2], out=pair[1][1:-1])
        np.clip(slopes, -_CAP, _CAP, out=slopes)
        total += slopes
        np.multiply(slopes, slopes, out=squares)
        squares[:2] += squares[2:]
        squares[0] += squares[1]
        energy += squares[0]
    count = np.float32(len(reds))
    return total / count, energy / count


def _coarse(frame: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame.shape
    size = (max(1, width // COARSE), max(1, height // COARSE))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def moving_share(edges: Edges, min_change: float) -> float:
    """Share of the picture that changes by at least `min_change` luma levels."""
    return float((edges.spread >= _UNIT * min_change).mean()) if len(edges.spread) else 0.0


def find_marks(
    clips: Sequence[Edges],
    size: tuple[int, int],
    view: Box,
    *,
    min_steady: float,
    min_change: float,
) -> list[Mark]:
    """Marks that the clips of one source have in common.

    Args:
        clips: at least one; those that hardly move tell nothing and should be left out.
        size: width and height of the grid.
        view: the part of the grid to look at.
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
    # what hangs together with the scene at a low level may stand alone at a higher one
    for level in (min_steady, (1 + min_steady) / 2, _SURE):
        for part in _parts(strong & (steady >= level), size):
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            box = _box(columns, rows)
            own = float(steady[part].mean())
            around = float(np.median(_ring(moving, box)))
            least = min_steady
            if len(clips) == 1:
                # nothing else tells a mark from a scene that moves little, or from chance
                least = _SURE if around < _LIVELY * min_change else min_steady + _CHANCE
            if own < least:
                continue
            density = part.sum() / (box.width * box.height)
            # one clip cannot tell a thing that the picture's edge cuts off from a mark, unless the
            # mark is full of detail
            sure = own >= _SURE and density >= _DETAILED and around >= 2 * min_change
            if len(clips) == 1 and not sure and _cut_off(box, view):
                continue
            if not _is_compact(box, density, view):
                continue
            if any(_overlap(box, mark.box) for mark in marks):
                continue
            others = steady[strong & ~part]
            # before a plain ground nothing changes; there the rest of the edges has to move
            alone = own >= _SURE and len(others) > 0 and float(np.median(others)) <= _LOOSE
            if around >= min_change or alone:
                marks.append(Mark(box, own, around))
    return marks


def _parts(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """(H, W) bool masks of the edges that stand close together: letters of one word."""
    import cv2

    reach = max(3, round(0.016 * max(size))) | 1
    joined = cv2.dilate(mask.astype(np.uint8), np.ones((reach, 2 * reach + 1), np.uint8))
    count, parts = cv2.connectedComponents(joined, connectivity=8)
    counts = np.bincount(parts[mask], minlength=count)
    return [mask & (parts == part) for part in range(1, count) if counts[part] >= _MIN_EDGES]


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def _pooled(clips: Sequence[Edges], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count,) share of each cell's energy that is common to all clips; where it is strong."""
    cells = np.concatenate([clip.cells for clip in clips])
    gradient = np.concatenate([clip.gradient for clip in clips]).reshape(-1, 4) / _UNIT
    energy = np.concatenate([clip.energy for clip in clips])

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(cells, values, minlength=count) / len(clips)

    strength = sum((mean(column) ** 2 for column in gradient.T), np.zeros(count))
    return strength / np.maximum(mean(energy), 1.0), strength >= _MIN_EDGE**2


def _movement(clips: Sequence[Edges], size: tuple[int, int]) -> np.ndarray:
    """(H, W) luma change over time and from clip to clip, in levels, on the coarse grid."""
    shape = (max(1, size[1] // COARSE), max(1, size[0] // COARSE))
    within = np.mean([(clip.spread / _UNIT) ** 2 for clip in clips], axis=0)
    between = np.var([clip.luma for clip in clips], axis=0)
    return np.sqrt(within + between).reshape(shape)


def _box(columns: np.ndarray, rows: np.ndarray) -> Box:
    """The extent of a mark from that of its edges, which reach one cell further on all sides."""
    left, top = int(columns[0]) + 1, int(rows[0]) + 1
    return Box(left, top, max(1, int(columns[-1]) - left), max(1, int(rows[-1]) - top))


def _is_compact(box: Box, density: float, view: Box) -> bool:
    """Whether a box may be a mark: no speck, no rule, not half the picture."""
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
    # the mark itself stands still; cells that it fills are left out
    inner = (slice(top + 1, bottom - 1), slice(left + 1, right - 1))
    around[inner] = False
    return moving[around] if around.any() else moving[top:bottom, left:right].ravel()
