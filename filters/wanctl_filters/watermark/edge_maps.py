"""Mean gradient and gradient energy of every pixel over the frames of a clip."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_CAP = 48  # levels; a short bright event must not outweigh all other frames
_MIN_EDGE = 5.0  # levels, of the mean gradient
_MIN_ENERGY = 50.0  # levels squared, mean over frames: a cell with an edge in some frames
_UNIFORM = 12  # levels by which a margin may vary along itself, twice as much in time
_SPECKS = 0.01  # of a margin's row may differ by more
_STEPS = (2, 6, 24, 32)  # lines of a margin per step; most footage has none and costs two a side
RIM = 3  # cells along the sides: footage often has artefacts there


@dataclass(frozen=True)
class EdgeMaps:
    """Where the edges of a clip are and how steady they stay.

    Attributes:
        gradient: (4, H, W) mean gradient in levels: along x and y in the red plane, then in the
            blue one.
        energy: (H, W) mean square of the gradient, in levels squared.
        edges: number of cells that have an edge in some frames.
    """

    gradient: np.ndarray
    energy: np.ndarray
    edges: int

    @cached_property
    def strength(self) -> np.ndarray:
        """(H, W) square of the mean gradient, in levels squared."""
        squares = self.gradient * self.gradient
        return squares[0] + squares[1] + squares[2] + squares[3]

    @cached_property
    def steadiness(self) -> np.ndarray:
        """(H, W) share of the energy that is the same in all frames, 0..1."""
        return self.strength / np.maximum(self.energy, 1.0)

    def strong(self, steadiness: float) -> np.ndarray:
        """(K,) rising indices (row * W + column) of the cells that have an edge and are steady."""
        strong = self.strength >= _MIN_EDGE**2
        return np.flatnonzero(strong & (self.steadiness >= steadiness))

    def curvature(self, cells: np.ndarray) -> np.ndarray:
        """(K,) square of the change of the mean gradient along itself, over two cells.

        Divided by `strength` it tells sharp edges from soft ones: it is 1 at an ideal step, 2 and
        more at the strokes of letters, below 0.6 at edges that are out of focus.

        Args:
            cells: indices as from `strong`; none of them is on the sides of the frame.
        """
        width = self.energy.shape[1]
        total = np.zeros(len(cells))
        for plane, step in zip(self.gradient.reshape(4, -1), (1, width, 1, width), strict=True):
            total += (plane[cells + step] - plane[cells - step]) ** 2
        return total


def red_and_blue(frames: np.ndarray) -> np.ndarray:
    """(2, N, H, W) uint8, the planes of (N, H, W, 3) uint8 frames that marks are searched in."""
    import cv2

    count, height, width, _ = frames.shape
    planes = np.empty((2, count, height, width), np.uint8)
    pixels = np.ascontiguousarray(frames).reshape(count * height, width, 3)
    for plane, channel in zip(planes, (0, 2), strict=True):
        cv2.extractChannel(pixels, channel, plane.reshape(count * height, width))
    return planes


def edge_maps(planes: np.ndarray) -> EdgeMaps:
    """Measure (2, N, H, W) uint8 planes; uniform margins and the rim have no edges."""
    gradient, energy = _gradients(*planes)
    inner = np.zeros(energy.shape, dtype=bool)
    inner[active_area(planes)] = True
    gradient *= inner
    energy *= inner
    return EdgeMaps(gradient, energy, int((energy >= _MIN_ENERGY).sum()))


def _gradients(reds: np.ndarray, blues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(4, H, W) mean over frames of the gradients of red and blue, and (H, W) their mean energy.

    Exact in 16 bits for up to 682 frames, as gradients are capped at 48: 682 x 48 < 2^15.
    """
    total = np.zeros((4, *reds[0].shape), np.int16)
    energy = np.zeros(reds[0].shape, np.int32)
    slopes = np.zeros_like(total)  # zero on the outermost lines
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


def active_area(planes: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns within uniform margins (bars, frames of one colour) and the rim.

    The border of a bar is a still edge in moving footage, but no mark.

    Args:
        planes: (P, N, H, W) uint8.
    """
    bounds = []
    for walk in (planes, planes.transpose(0, 1, 3, 2)):
        depth = walk.shape[2]
        first = _margin(walk)
        # everything is uniform: there are no margins
        first, last = (first, depth - _margin(walk[:, :, ::-1])) if first < depth else (0, depth)
        bounds.append(slice(first + RIM, max(first + RIM, last - RIM)))
    return bounds[0], bounds[1]


def _margin(walk: np.ndarray) -> int:
    """Number of the first lines of (P, N, depth, length) planes that are uniform and constant."""
    depth, length = walk.shape[2:]
    start = 0
    for step in (*_STEPS, *[_STEPS[-1]] * (depth // _STEPS[-1])):
        lines = walk[:, :, start : start + step]
        mean = lines.mean(axis=1, dtype=np.float32)
        # whole levels sort in a quarter of the time of fractions
        middle = np.sort(np.rint(mean).astype(np.uint8), axis=2)[:, :, length // 2, None]
        changes = np.ptp(lines, axis=1) > 2 * _UNIFORM
        differs = (changes | (np.abs(mean - middle) > _UNIFORM)).any(axis=0)
        used = np.flatnonzero(differs.mean(axis=1) > _SPECKS)
        if len(used):
            return start + int(used[0])
        start += step
    return depth
