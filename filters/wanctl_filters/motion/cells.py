"""Residual motion on a grid of cells: which cells move, how fast, how compact and how coherent."""

from dataclasses import dataclass

import numpy as np

from wanctl_filters.motion.camera_path import Points
from wanctl_filters.motion.relative_motion import off_epipolar

GRID = 12
"""Cells along the long side of the frame."""
FLOORS = (0.005, 0.01, 0.02, 0.04, 0.08)
"""Speeds at which the moving share of the frame is recorded, in long sides per second."""
FLOOR = 1
"""Index into FLOORS of the speed at which the moving part is described."""
ZONES = (3, 4)
"""Rows and columns of zones; a crop by another filter is applied to them."""

# Motion across the direction to the epipole, relative to all motion of a cell: the flow of a rigid
# scene is off by a fifth.
_ACROSS = 0.35
_MIN_KNOWN = 0.5  # blocks with texture in a cell that is judged


@dataclass(frozen=True)
class Cells:
    """A grid of cells of equal size over the points of a frame.

    Attributes:
        shape: rows and columns.
        of_point: (P,) the cell that contains each point.
        x: (C,) horizontal distance of the cells from the centre, in long sides.
        y: (C,) vertical distance.
        size: width and height of a cell, in long sides.
    """

    shape: tuple[int, int]
    of_point: np.ndarray
    x: np.ndarray
    y: np.ndarray
    size: tuple[float, float]

    @classmethod
    def of(cls, points: Points, height: int, width: int) -> "Cells":
        """The cells of frames of `height` by `width` pixels."""
        rows, columns = points.shape
        side = max(height, width)
        cell = max(rows, columns) / GRID
        shape = max(1, round(rows / cell)), max(1, round(columns / cell))
        y = np.arange(rows) * shape[0] // rows
        x = np.arange(columns) * shape[1] // columns
        size = width / side / shape[1], height / side / shape[0]
        ys, xs = np.mgrid[: shape[0], : shape[1]]
        return cls(
            shape,
            (y[:, None] * shape[1] + x).ravel(),
            ((xs + 0.5 - shape[1] / 2) * size[0]).ravel(),
            ((ys + 0.5 - shape[0] / 2) * size[1]).ravel(),
            size,
        )

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(..., C) sums over the points of each cell, from (..., P)."""
        return values @ (self.of_point[:, None] == np.arange(len(self.x))).astype(values.dtype)


@dataclass(frozen=True)
class Residual:
    """Motion of the blocks relative to the camera in each burst, for B bursts and P points.

    Attributes:
        velocity: (B, 2, P) mean over the pairs, long sides per second.
        explained: (B, 2, P) the same, 0 in pairs whose flow predicts nothing.
        usable: (B, P) bool, blocks with texture that are no overlay and not lost.
        lost: (B, P) share of pixels with inconsistent flow.
        camera: (B,) speed of the camera.
    """

    velocity: np.ndarray
    explained: np.ndarray
    usable: np.ndarray
    lost: np.ndarray
    camera: np.ndarray


@dataclass(frozen=True)
class Moving:
    """What moves relative to the camera in each of B bursts.

    Attributes:
        areas: (B, F) share of the frame that is faster than each of FLOORS.
        zones: (B, Z) share of each zone that is faster than the usual floor.
        speed: (B,) mean speed of the moving part, long sides per second.
        compact: (B,) its area relative to a disk of the same variance.
        conflict: (B,) 0 where neighbouring cells move equally, 1 where they move at random.
        lost: (B,) share of the frame whose flow is inconsistent.
        textured: (B,) share of the frame whose motion can be measured.
    """

    areas: np.ndarray
    zones: np.ndarray
    speed: np.ndarray
    compact: np.ndarray
    conflict: np.ndarray
    lost: np.ndarray
    textured: np.ndarray


def describe(residual: Residual, cells: Cells, parallax: float) -> Moving:
    """Find the cells that move relative to the camera and not by parallax.

    Args:
        residual: motion of the blocks.
        cells: the grid.
        parallax: near and far parts of a rigid scene differ by less than the camera's speed times
            this.
    """
    counts = cells.sums(np.ones(len(cells.of_point)))
    usable = residual.usable.astype(np.float64)
    textured = cells.sums(usable)
    known = textured >= _MIN_KNOWN
    whole = _means(residual.velocity, usable, textured, cells)
    velocity = _means(residual.explained, usable, textured, cells) * known[:, None]
    apart = off_epipolar(whole.transpose(0, 2, 1), known.astype(np.float64), cells.x, cells.y)
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    apart = np.minimum(apart, speed) * known
    # above the speed of parallax, or across its direction
    effective = np.where(speed > parallax * residual.camera[:, None], speed, 0.0)
    effective = np.maximum(effective, np.where(apart > _ACROSS * speed, apart, 0.0))
    areas = np.stack([(effective > floor).mean(axis=1) for floor in FLOORS], axis=1)
    moves = effective > FLOORS[FLOOR]
    amount = np.maximum(moves.sum(axis=1), 1)
    return Moving(
        areas,
        _zones(moves, cells),
        (speed * moves).sum(axis=1) / amount,
        _compactness(moves, amount, cells),
        _conflict(moves, velocity, speed, cells),
        (cells.sums(residual.lost) / np.maximum(counts, 1)).mean(axis=1),
        known.mean(axis=1),
    )


def _means(
    values: np.ndarray, usable: np.ndarray, textured: np.ndarray, cells: Cells
) -> np.ndarray:
    return cells.sums(values * usable[:, None]) / np.maximum(textured, 1e-9)[:, None]


def _zones(moves: np.ndarray, cells: Cells) -> np.ndarray:
    """(B, Z) share of each zone that moves."""
    rows, columns = (_overlaps(own, zones) for own, zones in zip(cells.shape, ZONES, strict=True))
    grid = moves.reshape(-1, *cells.shape).astype(np.float64)
    return np.einsum("bij,zi,wj->bzw", grid, rows, columns).reshape(len(moves), -1)


def _overlaps(cells: int, zones: int) -> np.ndarray:
    """(Z, C) share of each zone that is covered by each cell; the rows add up to 1."""
    edges, own = np.arange(zones + 1) / zones, np.arange(cells + 1) / cells
    low = np.maximum(edges[:-1, None], own[None, :-1])
    high = np.minimum(edges[1:, None], own[None, 1:])
    return np.maximum(high - low, 0.0) * zones


def _compactness(moves: np.ndarray, amount: np.ndarray, cells: Cells) -> np.ndarray:
    x, y = (moves @ each / amount for each in (cells.x, cells.y))
    inner = (cells.size[0] ** 2 + cells.size[1] ** 2) / 12
    spread = moves @ (cells.x**2 + cells.y**2) / amount - x**2 - y**2 + inner
    area = moves.sum(axis=1) * cells.size[0] * cells.size[1]
    return area / (2 * np.pi * np.maximum(spread, 1e-9))


def _conflict(
    moves: np.ndarray, velocity: np.ndarray, speed: np.ndarray, cells: Cells
) -> np.ndarray:
    shape = (len(moves), *cells.shape)
    across, down = (np.where(moves, velocity[:, axis], 0.0).reshape(shape) for axis in (0, 1))
    speeds = np.where(moves, speed, 0.0).reshape(shape)

    def products(values: np.ndarray) -> np.ndarray:
        right = (values[:, :, 1:] * values[:, :, :-1]).sum(axis=(1, 2))
        return right + (values[:, 1:] * values[:, :-1]).sum(axis=(1, 2))

    both = products(speeds)
    equal = products(across) + products(down)
    return np.clip(1 - equal / np.maximum(both, 1e-12), 0, 1) * (both > 0)
