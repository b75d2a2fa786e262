"""A picture on a plane as the cameras of a path see it, and the page that shows it."""

import numpy as np
import pytest

from wanctl.camera.moves import MOVES, Move, path_of_moves
from wanctl.camera.paths import DISTANCE, CameraPath
from wanctl.camera.plane import BESIDE, moved_points, plane_homographies, views_of_plane
from wanctl.camera.preview import camera_sheet
from wanctl.camera.rays import fitted_lenses

HEIGHT, WIDTH = 48, 64


def seen_pixel(path: CameraPath, point: np.ndarray, frame: int) -> np.ndarray:
    """The pixel of a point of the first camera's space, by its definition."""
    x, y, z, _ = np.linalg.inv(path.relative().poses[frame]) @ [*point, 1.0]
    fx, fy, cx, cy = fitted_lenses(path, HEIGHT, WIDTH)[frame]
    return np.array([(fx * x / z + cx) * WIDTH, (fy * y / z + cy) * HEIGHT])


@pytest.mark.parametrize("move", MOVES)
def test_points_of_the_plane_land_where_the_camera_sees_them(move):
    path = path_of_moves([Move(move, 0.2), Move("tilt-up", 0.2)], 5)
    fx, fy, cx, cy = fitted_lenses(path, HEIGHT, WIDTH)[0] * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    pixels = np.array([[10.0, 5.0], [32.0, 24.0], [50.0, 40.0]])
    moved = moved_points(plane_homographies(path, HEIGHT, WIDTH), pixels)
    assert np.allclose(moved[0], pixels)
    for pixel, trail in zip(pixels, np.swapaxes(moved, 0, 1), strict=True):
        point = np.array([(pixel[0] - cx) / fx, (pixel[1] - cy) / fy, 1.0]) * DISTANCE
        for frame in range(5):
            assert np.allclose(trail[frame], seen_pixel(path, point, frame), atol=1e-6)


def test_a_shift_moves_the_picture_by_whole_pixels():
    """Half of the view's width at the plane's distance is half of the picture."""
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 0.25 * DISTANCE / 0.5  # a quarter of the picture at fx = 0.5
    path = CameraPath(poses, np.tile([0.5, 0.5 * WIDTH / HEIGHT, 0.5, 0.5], (2, 1)), WIDTH / HEIGHT)
    first, second = views_of_plane(picture, path)
    assert np.array_equal(first, picture)
    assert np.array_equal(second[:, : WIDTH * 3 // 4], picture[:, WIDTH // 4 :])
    assert (second[:, WIDTH * 3 // 4 :] == BESIDE).all()


def test_behind_the_plane_and_in_it_nothing_is_seen():
    picture = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1:, 2, 3] = DISTANCE, 2 * DISTANCE
    path = CameraPath(poses, np.tile([0.5, 0.5, 0.5, 0.5], (3, 1)))
    _, within, behind = views_of_plane(picture, path)
    assert (within == BESIDE).all()
    assert (behind == BESIDE).all()
    assert np.isnan(moved_points(plane_homographies(path, 48, 64), np.array([[9.0, 9.0]]))[2]).all()


@pytest.mark.parametrize("move", ["left", "orbit-right", "in", "zoom-out"])
def test_the_page_shows_the_image_and_its_trails(move):
    picture = np.full((96, 160, 3), 90, np.uint8)
    speed = 3.0 if move == "in" else 1.0  # through the plane
    page = camera_sheet(picture, path_of_moves([Move(move, speed)], 9))
    still = camera_sheet(picture, path_of_moves([Move(move, 0.0)], 9))
    assert page.shape == still.shape
    assert page.shape[1] > 160
    assert (page != still).any(axis=2).mean() > 0.02
