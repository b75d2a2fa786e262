"""Robust fit of camera motion to the dense flow of each pair of frames, and its residual.

Lengths are shares of the frame's long side. Camera motion is a planar model with eight parameters,
so that pans, zooms, rolls and the perspective of a plane all count as camera motion.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

POINT_PX = 8
"""Flow is averaged over blocks of this side; a point is the middle of one."""

# Scales of the robust fit, coarse to fine: a point at this distance from the model weighs 1/4.
_SCALES = (0.03, 0.012, 0.005, 0.0025, 0.0018)
# The start from standstill uses fine scales only, so that slow motion is not absorbed by it.
_FINE_SCALES = (0.004, 0.002, 0.0012)
_RIDGE = np.array([0, 1e-4, 1e-4, 0, 1e-4, 1e-4, 1e-3, 1e-3])
# Rows: pan, tilt, zoom, roll; columns: the eight parameters of the plane.
_SIMILARITY = np.zeros((4, 8))
_SIMILARITY[0, 0] = _SIMILARITY[1, 3] = _SIMILARITY[2, 1] = _SIMILARITY[2, 5] = 1
_SIMILARITY[3, 2], _SIMILARITY[3, 4] = -1, 1
# Smaller eigenvalue of the structure tensor at which `texture` is 0.5.
_TEXTURE = 4e-4


@dataclass(frozen=True)
class Points:
    """A fixed grid of points on frames of one size.

    Attributes:
        x: (P,) horizontal distance from the centre, in long sides.
        y: (P,) vertical distance from the centre, in long sides.
        shape: number of rows and columns.
    """

    x: np.ndarray
    y: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int) -> "Points":
        """The grid for frames of `height` by `width` pixels."""
        rows, columns = max(1, height // POINT_PX), max(1, width // POINT_PX)
        side = max(height, width)
        x = ((np.arange(columns) + 0.5) / columns - 0.5) * width / side
        y = ((np.arange(rows) + 0.5) / rows - 0.5) * height / side
        xs, ys = np.meshgrid(x, y)
        return cls(xs.ravel(), ys.ravel(), (rows, columns))

    @cached_property
    def design(self) -> np.ndarray:
        """(P, 2, 8): displacement = design @ model."""
        x, y, one, none = self.x, self.y, np.ones_like(self.x), np.zeros_like(self.x)
        across = np.stack([one, x, y, none, none, none, x * x, x * y], axis=1)
        down = np.stack([none, none, none, one, x, y, x * y, y * y], axis=1)
        return np.stack([across, down], axis=1)


def texture(frame: np.ndarray, points: Points) -> np.ndarray:
    """(P,) 0 to 1: how well the motion of a block can be measured in an (H, W) uint8 frame."""
    import cv2

    corners = cv2.cornerMinEigenVal(frame, POINT_PX, ksize=3)
    rows, columns = points.shape
    best = cv2.resize(corners, (columns, rows), interpolation=cv2.INTER_AREA).ravel()
    return best / (best + _TEXTURE)


def fit(
    flow: np.ndarray, weight: np.ndarray, points: Points, *, rigid: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Fit camera models to several pairs, and measure how many points follow each model.

    The fit is started from standstill, from the median motion of the margin and from that of the
    full frame; the model that most points follow wins, with the margin counting double.

    Args:
        flow: (N, P, 2) displacements.
        weight: (N, P) texture.
        points: positions of the P points.
        rigid: pan, tilt, zoom and roll only. Subjects that fill half of the frame bend a plane,
            but hardly a rigid motion.

    Returns:
        (N, 8) models, and (N,) trust: the weighted share of points that follow the model.
    """
    basis = _SIMILARITY if rigid else np.eye(8)
    design = points.design @ basis.T
    outer = np.maximum(
        np.abs(points.x) / np.abs(points.x).max(initial=1e-9),
        np.abs(points.y) / np.abs(points.y).max(initial=1e-9),
    )
    prior = weight * np.where(outer > 0.7, 2.0, 1.0)
    ridge = (basis**2) @ _RIDGE
    # a small weight for each point, so that a frame without texture follows standstill
    counted = prior + 1e-3
    counted /= counted.sum(axis=1, keepdims=True)
    models = _refine(np.zeros((len(flow), len(basis))), _FINE_SCALES, flow, prior, design, ridge)
    # a static camera before a large subject is more probable than a camera that follows it exactly
    best = 1.3 * (_following(models, flow, design) * counted).sum(axis=1)
    rest = np.flatnonzero(best < 1)  # the others cannot win
    pan, tilt = basis[:, 0].argmax(), basis[:, 3].argmax()
    for part in (outer > 0.7, np.ones_like(outer, bool)) if len(rest) else ():
        start = np.zeros((len(rest), len(basis)))
        start[:, [pan, tilt]] = _weighted_median(flow[rest][:, part], weight[rest][:, part])
        model = _refine(start, _SCALES, flow[rest], prior[rest], design, ridge)
        share = (_following(model, flow[rest], design) * counted[rest]).sum(axis=1)
        better = share > best[rest]
        models[rest[better]], best[rest[better]] = model[better], share[better]
    return models @ basis, np.minimum(best, 1.0)


def residuals(model: np.ndarray, flow: np.ndarray, points: Points) -> np.ndarray:
    """(N, P, 2) flow minus the motion of the camera model."""
    return flow - np.einsum("pkd,nd->npk", points.design, model)


def _refine(
    model: np.ndarray,
    scales: tuple[float, ...],
    flow: np.ndarray,
    prior: np.ndarray,
    design: np.ndarray,
    ridge: np.ndarray,
) -> np.ndarray:
    count, size = flow.shape[:2]
    kinds = design.shape[2]
    squares = np.einsum("pkd,pke->pde", design, design).reshape(size, kinds**2)
    rows = design.reshape(2 * size, kinds)
    for scale in scales:
        residual = flow - (model @ rows.T).reshape(count, size, 2)
        weight = prior / (1 + _squares(residual) / scale**2) ** 2
        left = (weight @ squares).reshape(count, kinds, kinds)
        total = np.maximum(weight.sum(axis=1), 1e-9)[:, None]
        left[:, np.arange(kinds), np.arange(kinds)] += ridge * total + 1e-9
        right = (weight[:, :, None] * flow).reshape(count, 2 * size) @ rows
        model = np.linalg.solve(left, right[:, :, None])[:, :, 0]
    return model


def _following(model: np.ndarray, flow: np.ndarray, design: np.ndarray) -> np.ndarray:
    rows = design.reshape(-1, design.shape[2])
    residual = flow - (model @ rows.T).reshape(flow.shape)
    # the error of flow grows with its speed
    scale = 0.0025 + 0.1 * np.sqrt(_squares(flow))
    return 1 / (1 + _squares(residual) / scale**2)


def _squares(vectors: np.ndarray) -> np.ndarray:
    # a third of the time of a sum over the last axis
    return vectors[..., 0] ** 2 + vectors[..., 1] ** 2


def _weighted_median(flow: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(N, 2) weighted medians of (N, P, 2), per component."""
    order = np.argsort(flow, axis=1)
    values = np.take_along_axis(flow, order, axis=1)
    weights = np.take_along_axis(np.repeat(weight[:, :, None], 2, axis=2), order, axis=1)
    sums = np.cumsum(weights, axis=1)
    middle = (sums < sums[:, -1:] / 2).sum(axis=1)
    middle = np.minimum(middle, flow.shape[1] - 1)
    return np.take_along_axis(values, middle[:, None], axis=1)[:, 0]
