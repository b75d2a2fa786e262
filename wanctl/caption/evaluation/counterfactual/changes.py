"""Changes to the frames of a clip whose effect on a right answer is known."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wanctl.video.frames import FrameBatch

HUE_SHIFT_DEG = 180
STRINGS = (
    "BAKERY", "LIBRARY", "STATION", "PHARMACY", "MUSEUM", "HARBOUR", "CINEMA", "GARDEN", "OFFICE",
    "THEATRE", "AIRPORT", "MARKET", "BRIDGE", "SCHOOL", "TICKETS", "PARKING",
)  # fmt: skip
"""Words of which one and a number are rendered."""
LEAST_COPIES, MOST_COPIES = 3, 6
STAR_RGB = (255, 215, 0)

# copies lie in cells of a grid, so that they never touch each other
_COLUMNS, _ROWS = 4, 3
_NOISE = 2


@dataclass(frozen=True)
class Detail:
    """What is put into the frames of one clip; depends on the clip's id alone.

    Attributes:
        copies: of the pasted object.
        string: that is rendered.
        seed: of positions and noise.
    """

    copies: int
    string: str
    seed: int


def detail_of(clip_id: str) -> Detail:
    """The detail of a clip."""
    digest = hashlib.sha256(clip_id.encode()).digest()
    copies = LEAST_COPIES + digest[0] % (MOST_COPIES - LEAST_COPIES + 1)
    string = f"{STRINGS[digest[1] % len(STRINGS)]} {10 + digest[2] % 90}"
    return Detail(copies, string, int.from_bytes(digest[3:7], "big"))


def same(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """The frames as they are."""
    del detail
    return batch


def again(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """The control: noise of at most two levels, which nobody sees.

    At temperature 0 the very same frames would get the very same answer, and nothing would be
    learnt of how much answers vary without a cause.
    """
    noise = np.random.default_rng(detail.seed).integers(
        -_NOISE, _NOISE + 1, batch.frames.shape[1:], dtype=np.int16
    )
    return replace(batch, frames=np.clip(batch.frames + noise, 0, 255).astype(np.uint8))


def mirrored(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """Left and right change places."""
    del detail
    return replace(batch, frames=np.ascontiguousarray(batch.frames[:, :, ::-1]))


def reversed_in_time(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """The last frame comes first; the times stay as they are."""
    del detail
    return replace(batch, frames=np.ascontiguousarray(batch.frames[::-1]))


def recolored(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """Every hue is turned by HUE_SHIFT_DEG; saturation and brightness (HSV) stay."""
    del detail
    return _each(batch, _turn_hue)


def frozen(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """The middle frame, as often as there are frames."""
    del detail
    middle = batch.frames[len(batch.frames) // 2]
    return replace(batch, frames=np.repeat(middle[None], len(batch.frames), axis=0))


def with_copies(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """`detail.copies` yellow stars of one size, at the same places in all frames."""
    height, width = batch.frames.shape[1:3]
    cells = np.random.default_rng(detail.seed).permutation(_COLUMNS * _ROWS)[: detail.copies]
    radius = 0.36 * min(width / _COLUMNS, height / _ROWS)
    stars = [
        _star((cell % _COLUMNS + 0.5) * width / _COLUMNS, (cell // _COLUMNS + 0.5) * height / _ROWS,
              radius)
        for cell in cells
    ]  # fmt: skip
    return _each(batch, lambda frame: _draw_stars(frame, stars, max(1, round(radius / 8))))


def with_string(batch: FrameBatch, detail: Detail) -> FrameBatch:
    """`detail.string` in black on a white plate near the lower edge, four fifths of the width."""
    height, width = batch.frames.shape[1:3]
    plate = render_plate(detail.string, width, height)
    top, left = height - plate.shape[0] - height // 20, (width - plate.shape[1]) // 2

    def paste(frame: np.ndarray) -> np.ndarray:
        frame = frame.copy()
        frame[top : top + plate.shape[0], left : left + plate.shape[1]] = plate
        return frame

    return _each(batch, paste)


def render_plate(string: str, width: int, height: int) -> np.ndarray:
    """A white plate with a line of text that fits a frame of this size, (H, W, 3) uint8."""
    face = ImageFont.load_default(size=100)
    left, top, right, bottom = face.getbbox(string)
    size = max(8.0, 100 * min(0.7 * width / (right - left), 0.16 * height / (bottom - top)))
    face = ImageFont.load_default(size=size)
    left, top, right, bottom = (round(each) for each in face.getbbox(string))
    margin = max(2, round(size / 4))
    box = (min(width, right - left + 2 * margin), min(height, bottom - top + 2 * margin))
    plate = Image.new("RGB", box, (255, 255, 255))
    ImageDraw.Draw(plate).text((margin - left, margin - top), string, font=face, fill=(0, 0, 0))
    return np.asarray(plate)


def _each(batch: FrameBatch, change: Callable[[np.ndarray], np.ndarray]) -> FrameBatch:
    return replace(batch, frames=np.stack([change(frame) for frame in batch.frames]))


def _turn_hue(frame: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(HUE_SHIFT_DEG * 256 // 360)  # wraps around, as hues do
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _star(x: float, y: float, radius: float) -> np.ndarray:
    """(10, 2) int32 corners of a five-pointed star that stands upright."""
    corners = [
        (
            x + radius * (1 if point % 2 == 0 else 0.45) * math.sin(point * math.pi / 5),
            y - radius * (1 if point % 2 == 0 else 0.45) * math.cos(point * math.pi / 5),
        )
        for point in range(10)
    ]
    return np.round(corners).astype(np.int32)


def _draw_stars(frame: np.ndarray, stars: Sequence[np.ndarray], line_px: int) -> np.ndarray:
    frame = frame.copy()
    cv2.fillPoly(frame, stars, STAR_RGB)
    cv2.polylines(frame, stars, isClosed=True, color=(0, 0, 0), thickness=line_px)
    return frame
