"""Points of a start image and where they go: read from a file, as cells of the latents.

Shapes: F frames, N points, T latent frames.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from wanctl.errors import UserError
from wanctl.model.shapes import SPATIAL_STRIDE, TEMPORAL_STRIDE

SUFFIXES = (".npz", ".npy", ".json")
MAX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class PointTracks:
    """Where points of the start image are in each frame.

    Attributes:
        points: (F, N, 2) fp64 x and y in pixels of the start image.
        visible: (F, N) bool; where it is false the place does not count.
        name: of the file, for messages.
    """

    points: np.ndarray
    visible: np.ndarray
    name: str = ""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.points)

    def check_start(self, size: tuple[int, int]) -> None:
        """Check that the tracks start in the start image, and that some can be followed.

        Args:
            size: (height, width) of the start image.

        Raises:
            UserError: `tracks: message`.
        """
        outside = self.visible[0] & ~_inside(self.points[0], size)
        if outside.any():
            number = int(np.argmax(outside))
            x, y = self.points[0, number]
            raise UserError(
                f"tracks: {self.name}: track {number} starts at ({x:g}, {y:g}), outside the image "
                f"of {size[1]}x{size[0]}; need pixels of sample.image"
            )
        if not (self.visible[0] & self.visible[1:].any(axis=0)).any():
            raise UserError(
                f"tracks: {self.name}: no track is visible in the first frame and in a later one"
            )

    def moved(self, scale: tuple[float, float], offset: tuple[int, int]) -> "PointTracks":
        """The tracks in a resized and cropped image.

        Args:
            scale: factors of x and y.
            offset: (left, top) pixels that are cut off after that.
        """
        return PointTracks(self.points * scale - offset, self.visible, self.name)

    def cells(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Latent cells (row, column) of the points in the first frame of each latent frame.

        Points outside the picture are not visible.

        Args:
            size: (height, width) of the output in pixels.

        Returns:
            (T, N, 2) int, and (T, N) bool: whether the point is visible there.
        """
        points, visible = self.points[::TEMPORAL_STRIDE], self.visible[::TEMPORAL_STRIDE]
        visible = visible & _inside(points, size)
        cells = np.where(visible[..., None], points // SPATIAL_STRIDE, 0).astype(int)
        return cells[..., ::-1], visible


def read_tracks(path: Path, name: str) -> PointTracks:
    """Read `tracks` (F, N, 2) and `visibility` (F, N), with or without a first dimension of 1.

    Args:
        path: `.npz` or `.json` of both, or `.npy` of tracks that are always visible. Without
            `visibility` all points are visible.
        name: of the file, for messages.

    Raises:
        UserError: `FILE: message`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{name}: is no file of tracks; need one of {', '.join(SUFFIXES)}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{name}: has more than {MAX_BYTES >> 20} MiB, too large for tracks")
    try:
        stored = _stored(path)
        points = _numbers(stored, "tracks")
        visible = _numbers(stored, "visibility") if "visibility" in stored else None
        return _checked(points, visible, name)
    except json.JSONDecodeError as error:
        raise UserError(f"{name}: is no JSON (line {error.lineno})") from None
    except (OSError, EOFError, KeyError, RecursionError, BadZipFile, UnicodeDecodeError):
        raise UserError(f"{name}: cannot be read as tracks") from None
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None


def _stored(path: Path) -> dict[str, Any]:
    """The arrays or lists of a file by name."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(found, dict):
            raise ValueError("is no JSON object; need `tracks` and `visibility`")
        return found
    try:
        loaded = np.load(path, allow_pickle=False)
    except ValueError:
        raise ValueError("is no file of numpy's arrays, or holds objects") from None
    if isinstance(loaded, np.ndarray):
        return {"tracks": loaded}
    with loaded:
        return {key: loaded[key] for key in loaded.files}


def _numbers(stored: dict[str, Any], key: str) -> np.ndarray:
    if key not in stored:
        raise ValueError(f"holds no `{key}`, only {', '.join(map(str, stored)) or 'nothing'}")
    try:
        values = np.asarray(stored[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"`{key}` is no array of numbers") from None
    whole = 3 if key == "tracks" else 2
    return values[0] if values.ndim == whole + 1 and len(values) == 1 else values


def _checked(points: np.ndarray, visible: np.ndarray | None, name: str) -> PointTracks:
    if points.ndim != 3 or points.shape[2] != 2 or not points.size:
        raise ValueError(f"`tracks` has the shape {points.shape}; need (frames, points, 2)")
    visible = np.ones(points.shape[:2]) if visible is None else visible
    if visible.shape != points.shape[:2]:
        raise ValueError(
            f"`visibility` has the shape {visible.shape}; need {points.shape[:2]}, as the tracks"
        )
    seen = visible > 0.5  # NaN is not
    bad = seen & ~np.isfinite(points).all(axis=2)
    if bad.any() or not np.isfinite(visible).all():
        frame = int(np.argwhere(bad | ~np.isfinite(visible))[0][0])
        raise ValueError(f"frame {frame} holds NaN or infinity at a visible point")
    return PointTracks(np.where(seen[..., None], points, 0.0), seen, name)


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.all((points >= 0) & (points < (size[1], size[0])), axis=-1)
