"""A picture on a plane in front of the first camera, as the later cameras of a path see it.

The plane is parallel to the first picture, `DISTANCE` away, and the picture fills the first view.

Shapes: F frames, H/W pixels, N points.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from wanctl.camera.paths import DISTANCE, CameraPath
from wanctl.camera.rays import fitted_lenses

BESIDE = (52, 56, 62)
"""Colour beside the plane."""


def plane_homographies(
    path: CameraPath, height: int, width: int, distance: float = DISTANCE
) -> np.ndarray:
    """(F, 3, 3) fp64: pixels of the first view (x, y, 1) to those of each view.

    K_i R_i^T (I - t_i n^T / distance) K_0^-1, with poses relative to the first and n the direction
    of its view (Hartley & Zisserman, Multiple View Geometry, 13.1). The third number of a result is
    its depth as a share of the distance: not above 0 behind the camera.
    """
    poses = path.relative().poses
    lenses = fitted_lenses(path, height, width) * [width, height, width, height]
    cameras = np.tile(np.eye(3), (len(path), 1, 1))
    cameras[:, 0, 0], cameras[:, 1, 1], cameras[:, 0, 2], cameras[:, 1, 2] = lenses.T
    towards = np.eye(3) - poses[:, :3, 3:] @ np.array([[0.0, 0.0, 1.0 / distance]])
    return cameras @ np.swapaxes(poses[:, :3, :3], 1, 2) @ towards @ np.linalg.inv(cameras[0])


def moved_points(homographies: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(F, N, 2) where (N, 2) pixels of the first view lie in each view; NaN behind the camera.

    A pixel's centre has the coordinates of its row and column plus a half.
    """
    uniform = np.concatenate((points, np.ones((len(points), 1))), axis=1)
    seen = np.einsum("fij,nj->fni", homographies, uniform)
    depth = np.where(seen[..., 2:] > 0, seen[..., 2:], np.nan)
    return seen[..., :2] / depth


def views_of_plane(
    picture: np.ndarray, path: CameraPath, distance: float = DISTANCE
) -> Iterator[np.ndarray]:
    """The picture (H, W, 3) uint8 as every camera of the path sees it, of the same size."""
    height, width, _ = picture.shape
    for homography in plane_homographies(path, height, width, distance):
        yield view_of_plane(picture, homography)


def view_of_plane(picture: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 through one homography; `BESIDE` where there is none."""
    height, width, _ = picture.shape
    try:
        back = np.linalg.inv(homography)
    except np.linalg.LinAlgError:  # the camera lies in the plane and sees its edge
        return np.full_like(picture, BESIDE)
    across, down = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    x, y, w = (row[0] * across + row[1] * down + row[2] for row in back)
    in_front = w > 0
    safe = np.where(in_front, w, 1.0)
    at_x = np.where(in_front, x / safe - 0.5, -2.0).astype(np.float32)
    at_y = np.where(in_front, y / safe - 0.5, -2.0).astype(np.float32)
    return cv2.remap(
        picture, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=BESIDE
    )
