"""How a stored frame is turned and mirrored for display, from its display matrix.

The matrix is that of ISO/IEC 14496-12 (`tkhd`), which FFmpeg attaches to every frame; containers,
H.264 and HEVC messages and EXIF tags all end there.
"""

import math
from typing import NamedTuple

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from wanctl.video.opening import VideoError

# FFmpeg's own command takes an angle this close to a quarter turn for one.
_TOLERANCE_DEG = 1.0


@classmethod
def _unnamed(cls: type[Type], value: object) -> Type:
    """A member for side data that PyAV has no name for, such as the Exif of Motion JPEG frames.

    Without it, one such item makes all side data of a frame unreadable, its matrix included.
    """
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


setattr(Type, "_missing_", _unnamed)  # noqa: B010  a checker takes it for a plain function


class Orientation(NamedTuple):
    """One of the eight ways to lay a rectangle upon itself.

    Attributes:
        rotation: degrees clockwise that turn the stored frame upright: 0, 90, 180, 270.
        mirrored: whether left and right of the stored frame change places before that.
    """

    rotation: int = 0
    mirrored: bool = False

    @property
    def turned(self) -> bool:
        """Whether width and height change places."""
        return self.rotation in (90, 270)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Bring a stored (H, W) or (H, W, 3) array upright; contiguous."""
        if self.mirrored:
            array = array[:, ::-1]
        return np.ascontiguousarray(np.rot90(array, -self.rotation // 90))


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for; upright without one.

    Raises:
        VideoError: the matrix turns by another angle than a quarter turn, or shears.
    """
    data = frame.side_data
    matrix = data.get("DISPLAYMATRIX") if len(data) else None
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return from_matrix(a, b, c, d)


def from_matrix(a: int, b: int, c: int, d: int) -> Orientation:
    """Orientation of a display matrix: a stored point (x, y) is shown at (ax + cy, bx + dy).

    Scale is ignored, as players do: sizes and the aspect of pixels are declared elsewhere.

    Raises:
        VideoError: see `orientation_of`.
    """
    if not (a or b) or not (c or d):  # no direction: files with a matrix of zeros are shown as is
        return UPRIGHT
    mirrored = a * d - b * c < 0
    across = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a))
    down = math.degrees(math.atan2(d, c)) - 90
    rotation = round(across / 90) * 90
    if max(_apart(across, rotation), _apart(down, rotation)) > _TOLERANCE_DEG:
        raise VideoError(
            f"its display matrix turns frames by {across % 360:.1f} degrees or shears them; "
            "quarter turns and mirroring are read; encode the file again upright"
        )
    return Orientation(rotation % 360, mirrored)


def _apart(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)
