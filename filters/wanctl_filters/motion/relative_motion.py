"""Motion relative to the camera: whether it explains the picture, and may be parallax."""

from typing import NamedTuple

import numpy as np

from wanctl_filters.motion.camera_path import Points
from wanctl_filters.motion.flow import sampled_at

_EXPLAINED = 0.8  # the difference that flow leaves, relative to the one that the camera leaves
_SAME_LEVELS, _SAME_SHARE, _LEAST_PX = 2.5, 0.5, 0.5  # a block that stays where it is
_STILL_PX = 0.01  # moving a frame by less changes no level
_NOISE = 0.005  # long sides per second, of a cell's mean velocity
_SLACK = 0.15  # relative error of a velocity's direction
_STEPS = 5


class Explained(NamedTuple):
    """What the flow of a pair says about its blocks.

    Attributes:
        moves: (P,) bool, flow predicts the block of the next frame better than the camera does.
            Text that appears, a lamp that is switched on and grain make flow, which predicts
            nothing.
        stays: (P,) bool, the block is the same in both frames although the camera moved by a pixel
            at least: a logo, a subtitle. A subject that the camera follows changes more.
    """

    moves: np.ndarray
    stays: np.ndarray


def explain(
    first: np.ndarray, second: np.ndarray, flow: np.ndarray, model: np.ndarray, points: Points
) -> Explained:
    """Compare a frame with the next one, moved by the camera, by flow, and not at all.

    Args:
        first: (H, W) uint8.
        second: (H, W) uint8.
        flow: (H, W, 2) displacement in pixels from first to second.
        model: (8,) the camera model.
        points: the blocks.
    """
    import cv2

    # Levels are compared at half the size, which is that of the flow, at half of the time.
    height, width = (max(1, side // 2) for side in first.shape)
    first, second = (
        cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in (first, second)
    )
    flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / 2
    rows, columns = points.shape
    camera = points.design @ model * max(height, width)
    camera_field = cv2.resize(
        camera.astype(np.float32).reshape(rows, columns, 2),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )

    def left_by(field: np.ndarray | None) -> np.ndarray:
        moved = second if field is None else sampled_at(second, field)
        difference = cv2.absdiff(first, moved).astype(np.float32)
        return cv2.resize(difference, (columns, rows), interpolation=cv2.INTER_AREA).ravel()

    speed = np.hypot(*camera.T)
    by_flow = left_by(flow)
    by_camera = left_by(camera_field if speed.max() > _STILL_PX else None)
    stays = speed >= _LEAST_PX
    if stays.any():
        by_none = left_by(None)
        stays &= (by_none < _SAME_LEVELS) & (by_none < _SAME_SHARE * by_camera)
    return Explained(by_flow < _EXPLAINED * by_camera, stays)


def off_epipolar(
    velocity: np.ndarray, weight: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """(B, C) speed that a rigid scene with depth cannot have.

    Relative to a plane, the parts of a rigid scene move towards or away from one point, the
    epipole. It is fitted to all cells of a burst by iteratively reweighted least squares, from the
    centre of the frame, from the main direction of motion, and from the unweighted fit; the result
    is the component of each velocity across the direction to the epipole that fits best.

    Args:
        velocity: (B, C, 2) relative to the plane, long sides per second.
        weight: (B, C) 0 for cells that are unknown.
        x: (C,) horizontal position of the cells, long sides.
        y: (C,) vertical position.
    """
    across, down = velocity[..., 0], velocity[..., 1]
    speed = np.hypot(across, down)
    place = np.stack([x, y, np.ones_like(x)], axis=1)
    line = np.stack([-down, across, down * x - across * y], axis=2)
    line /= (speed + _NOISE)[..., None]
    outer = (line[..., :, None] * line[..., None, :]).reshape(*speed.shape, 9)
    prior = weight * np.minimum(speed / (2 * _NOISE), 1.0)
    scale = (_NOISE + _SLACK * speed)[:, None]
    main = np.linalg.eigh(np.einsum("bc,bci,bcj->bij", prior, velocity, velocity))[1][..., -1]
    free = np.linalg.eigh((prior[:, None] @ outer).reshape(-1, 3, 3))[1][..., 0]
    epipoles = np.zeros((len(speed), 3, 3))
    epipoles[:, 0, 2] = 1
    epipoles[:, 1, :2] = main
    epipoles[:, 2] = free
    best, best_apart = np.full(len(speed), -1.0), speed.copy()
    every = np.arange(len(speed))
    for _ in range(_STEPS):
        to = epipoles[..., None, :2] - epipoles[..., None, 2:] * place[:, :2]
        distance = np.sqrt((to**2).sum(axis=3)) + 1e-9
        off = np.abs(across[:, None] * to[..., 1] - down[:, None] * to[..., 0]) / distance
        follows = 1 / (1 + (off / scale) ** 2)
        shares = (follows @ prior[..., None])[..., 0]
        # a step may be worse: least squares draws the epipole towards the cells
        leader = shares.argmax(axis=1)
        better = shares[every, leader] > best
        best = np.where(better, shares[every, leader], best)
        best_apart[better] = off[every, leader][better]
        usual = np.maximum(np.median(distance, axis=2, keepdims=True), 1e-9)
        use = prior[:, None] * follows**2 * np.minimum(usual / distance, 3.0) ** 2
        epipoles = np.linalg.eigh((use @ outer).reshape(-1, 3, 3, 3))[1][..., 0]
    return best_apart
