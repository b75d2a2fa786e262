"""Read and write camera paths: lines of RealEstate10K, and `transforms.json` of Blender and COLMAP.

A line of RealEstate10K is a time, fx, fy, cx, cy as shares of width and height, two unused numbers,
and twelve of a 3 x 4 world-to-camera matrix, row by row; the file's first line is a link and is
skipped. `transforms.json` holds camera-to-world matrices in the axes of OpenGL (y up, z backward).
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.atomic import write_bytes
from wanctl.camera.paths import CameraPath
from wanctl.errors import UserError

NUMBERS = 19
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_TOLERANCE = 1e-2  # by which a rotation may differ from one


def read_path(path: Path) -> CameraPath:
    """Read a camera path.

    Args:
        path: `.json`, or text in the layout of RealEstate10K.

    Raises:
        UserError: `camera.path: FILE: message`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"camera.path: {path}: cannot be read as text ({error})") from None
    try:
        found = _from_json(json.loads(text)) if path.suffix == ".json" else _from_lines(text)
    except json.JSONDecodeError as error:
        raise UserError(f"camera.path: {path}: is no JSON (line {error.lineno})") from None
    except ValueError as error:
        raise UserError(f"camera.path: {path}: {error}") from None
    return found


def write_path(path: Path, camera: CameraPath) -> None:
    """Write lines of RealEstate10K; what aspect ratio the lenses belong to is not in them."""
    lines = ["camera path"]
    for number, (pose, lens) in enumerate(zip(camera.poses, camera.lenses, strict=True)):
        numbers = [*lens, 0, 0, *np.linalg.inv(pose)[:3].ravel()]
        lines.append(" ".join([str(number), *(f"{value:.9g}" for value in numbers)]))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _from_lines(text: str) -> CameraPath:
    rows = []
    for number, line in enumerate(text.splitlines()[1:], start=2):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            raise ValueError(f"line {number}: is not {NUMBERS} numbers") from None
        if len(row) != NUMBERS:
            raise ValueError(f"line {number}: got {len(row)} numbers; need {NUMBERS}")
        rows.append(row)
    if not rows:
        raise ValueError("holds no pose; the first line is a link, then one line for each frame")
    table = np.array(rows)
    views = np.tile(np.eye(4), (len(table), 1, 1))
    views[:, :3] = table[:, 7:].reshape(-1, 3, 4)
    _check(views, table[:, 1:5], "line", 2)
    return CameraPath(np.linalg.inv(views), table[:, 1:5])


def _from_json(stored: Any) -> CameraPath:
    frames = stored.get("frames") if isinstance(stored, Mapping) else None
    if not isinstance(frames, list) or not frames or not isinstance(frames[0], Mapping):
        raise ValueError("has no list `frames` with a `transform_matrix` each (transforms.json)")
    try:
        poses = np.array([frame["transform_matrix"] for frame in frames], dtype=np.float64)
        lenses = np.array([_lens({**stored, **frame}) for frame in frames])
        aspect = float(stored.get("w", 16)) / float(stored.get("h", 9))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"a frame lacks numbers that are needed ({error})") from None
    if poses.shape[1:] != (4, 4):
        raise ValueError(f"`transform_matrix` has the shape {poses.shape[1:]}; need 4 x 4")
    _check(poses, lenses, "frame", 1)
    return CameraPath(poses @ _OPENGL, lenses, aspect)


def _lens(values: Mapping[str, Any]) -> list[float]:
    """Focal lengths and centre as shares, from pixels or from angles of view."""
    width, height = float(values.get("w", 16)), float(values.get("h", 9))
    if "fl_x" in values:
        across = float(values["fl_x"]) / width
        down = float(values.get("fl_y", values["fl_x"])) / height
    else:
        across = 0.5 / math.tan(float(values["camera_angle_x"]) / 2)
        angle = values.get("camera_angle_y")
        down = 0.5 / math.tan(float(angle) / 2) if angle else across * width / height
    centre = (
        float(values.get("cx", width / 2)) / width,
        float(values.get("cy", height / 2)) / height,
    )
    return [across, down, *centre]


def _check(matrices: np.ndarray, lenses: np.ndarray, row: str, first: int) -> None:
    """Refuse what is no camera.

    Raises:
        ValueError: names the row.
    """
    turns = matrices[:, :3, :3]
    finite = np.isfinite(matrices).all(axis=(1, 2)) & np.isfinite(lenses).all(axis=1)
    safe = turns.copy()
    safe[~finite] = 0.0
    off = np.abs(safe @ np.swapaxes(safe, 1, 2) - np.eye(3)).max(axis=(1, 2))
    good = finite & (off < _TOLERANCE) & (np.linalg.det(safe) > 0) & (lenses[:, :2] > 0).all(axis=1)
    if not good.all():
        number = first + int(np.argmin(good))
        raise ValueError(
            f"{row} {number}: is no camera; need a rotation and focal lengths above 0 (a mirrored "
            "or scaled matrix is none)"
        )
