"""Camera paths: files, moves, and the rays that models read."""

import json

import numpy as np
import pytest

from wanctl.camera.moves import DISTANCE, MOVES, Move, path_of_moves
from wanctl.camera.paths import CameraPath, default_lenses, rotation_vectors, rotations
from wanctl.camera.pose_files import read_path, write_path
from wanctl.camera.rays import packed_rays, plucker_rays
from wanctl.errors import UserError


def random_path(frames: int = 5, seed: int = 0) -> CameraPath:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = rotations(rng.normal(0, 0.3, (frames, 3)))
    poses[:, :3, 3] = rng.normal(0, 1, (frames, 3))
    lenses = default_lenses(frames) * rng.uniform(0.8, 1.2, (frames, 1))
    return CameraPath(poses, lenses)


@pytest.mark.parametrize(("height", "width"), [(9, 16), (8, 6), (6, 20)])
def test_rays_equal_those_of_each_pixel_alone(height, width):
    path = random_path()
    rays = plucker_rays(path, height, width)
    aspect = 1280 / 720
    for frame in (0, 3):
        pose = np.linalg.inv(path.poses[0]) @ path.poses[frame]
        fx, fy, cx, cy = path.lenses[frame]
        if aspect > width / height:
            fx = height * aspect * fx / width
        else:
            fy = width / aspect * fy / height
        for y, x in ((0, 0), (height - 1, 2), (3, width - 1)):
            ray = np.array([(x + 0.5 - cx * width) / (fx * width),
                            (y + 0.5 - cy * height) / (fy * height), 1.0])  # fmt: skip
            direction = pose[:3, :3] @ (ray / np.linalg.norm(ray))
            expected = [*np.cross(pose[:3, 3], direction), *direction]
            assert np.allclose(rays[:, frame, y, x], expected, atol=1e-6)


def test_four_frames_are_packed_channel_by_channel_and_the_first_is_repeated():
    rays = np.arange(6 * 5 * 2 * 2, dtype=np.float32).reshape(6, 5, 2, 2)
    packed = packed_rays(rays)
    assert packed.shape == (24, 2, 2, 2)
    for channel in range(6):
        for k in range(4):
            assert (packed[4 * channel + k, 0] == rays[channel, 0]).all()
            assert (packed[4 * channel + k, 1] == rays[channel, 1 + k]).all()


def test_a_written_path_is_read_again(tmp_path):
    path = random_path()
    write_path(tmp_path / "path.txt", path)
    again = read_path(tmp_path / "path.txt")
    assert np.allclose(again.poses, path.poses, atol=1e-6)
    assert np.allclose(again.lenses, path.lenses, atol=1e-6)


def test_the_published_preset_moves_as_its_name_says(tmp_path):
    """A world-to-camera t of +1/54 on the first axis per frame is the camera going left."""
    rows = [f"{i} 0.532139961 0.946026558 0.5 0.5 0 0 1 0 0 {i / 54} 0 1 0 0 0 0 1 0"
            for i in range(81)]  # fmt: skip
    (tmp_path / "Pan_Left.txt").write_text("link\n" + "\n".join(rows))
    published = read_path(tmp_path / "Pan_Left.txt")
    ours = path_of_moves([Move("left")], 81)
    assert np.allclose(published.poses, ours.poses, atol=1e-9)
    assert np.allclose(published.lenses, ours.lenses)


def test_blender_json_turns_y_and_z_over(tmp_path):
    """A camera of Blender that looks along -z, one unit to the right, with a lens of 50 degrees."""
    matrix = np.eye(4)
    matrix[0, 3] = 1.0
    frames = [{"transform_matrix": np.eye(4).tolist()}, {"transform_matrix": matrix.tolist()}]
    (tmp_path / "transforms.json").write_text(
        json.dumps({"camera_angle_x": np.radians(50), "w": 640, "h": 480, "frames": frames})
    )
    path = read_path(tmp_path / "transforms.json").relative()
    assert np.allclose(path.poses[1][:3, 3], [1, 0, 0])
    assert np.allclose(path.poses[1][:3, :3], np.eye(3))
    assert path.lenses[0][0] == pytest.approx(0.5 / np.tan(np.radians(25)))
    assert path.lenses[0][1] == pytest.approx(path.lenses[0][0] * 640 / 480)
    assert path.aspect == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("link\n", "holds no pose"),
        ("link\n1 2 3\n", "line 2: got 3 numbers; need 19"),
        ("link\n" + " ".join(["a"] * 19), "line 2: is not 19 numbers"),
        ("link\n0 .5 .9 .5 .5 0 0 2 0 0 0 0 1 0 0 0 0 1 0\n", "line 2: is no camera"),
        ("link\n0 .5 .9 .5 .5 0 0 -1 0 0 0 0 1 0 0 0 0 1 0\n", "line 2: is no camera"),
        ("link\n0 0 .9 .5 .5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n", "line 2: is no camera"),
        ("link\n0 .5 .9 .5 .5 0 0 1 0 0 nan 0 1 0 0 0 0 1 0\n", "line 2: is no camera"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "path.txt").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_path(tmp_path / "path.txt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"frames": []}', '{"frames": [{}]}'])
def test_bad_json_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "path.json").write_text(text)
    with pytest.raises(UserError, match="path") as error:
        read_path(tmp_path / "path.json")
    assert "\n" not in str(error.value)


def projected(path: CameraPath, point: tuple[float, float, float], frame: int) -> np.ndarray:
    """Where a point of the first camera's world is seen, as shares of width and height."""
    x, y, z, _ = np.linalg.inv(path.relative().poses[frame]) @ [*point, 1.0]
    fx, fy, cx, cy = path.lenses[frame]
    return np.array([fx * x / z + cx, fy * y / z + cy])


AHEAD = (0.0, 0.0, DISTANCE)


@pytest.mark.parametrize(
    ("move", "axis", "sign"),
    [
        ("pan-right", 0, -1), ("pan-left", 0, 1), ("right", 0, -1), ("left", 0, 1),
        ("tilt-up", 1, 1), ("tilt-down", 1, -1), ("up", 1, 1), ("down", 1, -1),
    ],
)  # fmt: skip
def test_what_is_ahead_moves_the_other_way_in_the_picture(move, axis, sign):
    path = path_of_moves([Move(move, 0.5)], 9)
    shifts = [projected(path, AHEAD, frame)[axis] - 0.5 for frame in range(1, 9)]
    assert all(sign * shift > 0 for shift in shifts)
    assert (np.diff(np.abs(shifts)) > 0).all()


@pytest.mark.parametrize(
    ("move", "sign"), [("in", 1), ("out", -1), ("zoom-in", 1), ("zoom-out", -1)]
)
def test_what_is_ahead_grows_or_shrinks(move, sign):
    path = path_of_moves([Move(move, 0.5)], 9)
    offset = [projected(path, (0.3, 0, DISTANCE), frame)[0] - 0.5 for frame in range(9)]
    assert (sign * np.diff(offset) > 0).all()


@pytest.mark.parametrize("move", ["orbit-right", "arc-left", "crane-up", "dolly-zoom-in"])
def test_some_moves_keep_what_is_ahead_in_place(move):
    path = path_of_moves([Move(move)], 9)
    for frame in range(9):
        assert np.allclose(projected(path, AHEAD, frame), 0.5, atol=1e-9)
    assert np.abs(path.poses[4][:3, 3]).max() > 0.1


def test_a_dolly_zoom_keeps_the_size_of_what_is_ahead_and_widens_what_is_behind():
    path = path_of_moves([Move("dolly-zoom-in")], 9)
    near = [projected(path, (0.3, 0, DISTANCE), frame)[0] for frame in range(9)]
    far = [projected(path, (0.3, 0, 3 * DISTANCE), frame)[0] for frame in range(9)]
    assert np.allclose(near, near[0])
    assert (np.diff(far) < 0).all()


def test_a_roll_turns_the_picture_against_it():
    path = path_of_moves([Move("roll-right")], 3)
    assert projected(path, (0.3, 0, DISTANCE), 2)[1] < 0.5


@pytest.mark.parametrize("move", MOVES)
def test_speed_scales_a_move_and_every_pose_is_one(move):
    slow, fast = (path_of_moves([Move(move, speed)], 5) for speed in (0.25, 0.5))
    for path in (slow, fast):
        turns = path.poses[:, :3, :3]
        assert np.allclose(turns @ np.swapaxes(turns, 1, 2), np.eye(3), atol=1e-12)
        assert np.allclose(path.poses[0], np.eye(4))
    # half the speed is half of the way
    assert np.allclose(slow.poses[4], fast.poses[2], atol=1e-9)
    assert np.allclose(slow.lenses[4], fast.lenses[2])


def test_an_unknown_move_names_the_nearest():
    with pytest.raises(UserError, match="pan-left"):
        path_of_moves([Move("panleft")], 5)


def test_resampling_keeps_the_ends_and_turns_evenly():
    path = path_of_moves([Move("pan-right"), Move("in")], 9)
    more = path.resampled(17)
    assert np.allclose(more.poses[::2], path.poses, atol=1e-12)
    steps = rotation_vectors(np.swapaxes(more.poses[:-1, :3, :3], 1, 2) @ more.poses[1:, :3, :3])
    assert np.allclose(steps, steps[0], atol=1e-9)
