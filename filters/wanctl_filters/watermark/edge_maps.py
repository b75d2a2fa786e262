"""Mean gradient and gradient energy of every pixel over the frames of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CAP = 48  # levels; a short bright event must not outweigh all other frames
_MIN_EDGE = 5.0  # levels, of the mean gradient
_MIN_ENERGY = 50.0  # levels squared, mean over frames: a cell with an edge in some frames
_UNIFORM = 12  # levels by which a margin may vary along itself, twice as much in time
_SPECKS = 0.01  # of a margin's row may differ by more
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

    def strength(self) -> np.ndarray:
        """(H, W) square of the mean gradient, in levels squared."""
        return (self.gradient * self.gradient).sum(axis=0)

    def steadiness(self) -> np.ndarray:
        """(H, W) share of the energy that is the same in all frames, 0..1."""
        return self.strength() / np.maximum(self.energy, 1.0)

    def strong(self) -> np.ndarray:
        """(H, W) bool, where the mean gradient is an edge."""
        return self.strength() >= _MIN_EDGE**2

    def curvature(self) -> np.ndarray:
        """(H, W) square of the change of the mean gradient along itself, over two cells.

        Divided by `strength` it tells sharp edges from soft ones: it is 1 at an ideal step, 2 and
        more at the strokes of letters, below 0.6 at edges that are out of focus.
        """
        total = np.zeros(self.energy.shape)
        for along_x, along_y in (self.gradient[:2], self.gradient[2:]):
            total[:, 1:-1] += (along_x[:, 2:] - along_x[:, :-2]) ** 2
            total[1:-1] += (along_y[2:] - along_y[:-2]) ** 2
        return total


def edge_maps(frames: np.ndarray) -> EdgeMaps:
    """Measure (N, H, W, 3) uint8 frames; uniform margins and the rim have no edges."""
    import cv2

    reds = [cv2.extractChannel(frame, 0) for frame in frames]
    blues = [cv2.extractChannel(frame, 2) for frame in frames]
    gradient, energy = _gradients(reds, blues)
    inner = np.zeros(energy.shape, dtype=bool)
    inner[_active_area(reds, blues)] = True
    gradient[:, ~inner] = 0
    energy[~inner] = 0
    return EdgeMaps(gradient, energy, int((energy >= _MIN_ENERGY).sum()))


def _gradients(
    reds: Sequence[np.ndarray], blues: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
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


def _active_area(*planes: Sequence[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns within uniform margins (bars, frames of one colour) and the rim.

    The border of a bar is a still edge in moving footage, but no mark.
    """
    stacks = [np.stack(plane) for plane in planes]
    changes = np.logical_or.reduce([np.ptp(stack, axis=0) > 2 * _UNIFORM for stack in stacks])
    means = [stack.mean(axis=0, dtype=np.float32) for stack in stacks]
    bounds = []
    for axis in (1, 0):
        differs = changes.copy()
        for mean in means:
            # whole levels sort in a quarter of the time of fractions
            levels = np.sort(np.rint(mean).astype(np.uint8), axis=axis, kind="stable")
            middle = np.take(levels, [levels.shape[axis] // 2], axis=axis)
            differs |= np.abs(mean - middle) > _UNIFORM
        used = np.flatnonzero(differs.mean(axis=axis) > _SPECKS)
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, len(differs.T))
        bounds.append(slice(first + RIM, max(first + RIM, last - RIM)))
    return bounds[0], bounds[1]
