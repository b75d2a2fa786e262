"""Masks of regions to generate: reading them, and giving them a larger, simpler shape.

White (1) is generated, black (0) is kept: VACE's convention, the opposite of image-to-video's. A
mask that follows an object tightly gives its outline away; grown, as a hull or a box it does not.
"""

from collections.abc import Callable

import numpy as np

from wanctl.errors import UserError
from wanctl.tasks.inputs import SourceVideo

# Codecs and JPEG leave a little colour in grey pictures; a drawing or a photo has far more.
_GREY_SLACK = 24
_GREY_SHARE = 0.001


def grey_mask(picture: np.ndarray, name: str) -> np.ndarray:
    """One frame of a mask as (H, W) uint8.

    Args:
        picture: (H, W) or (H, W, 3) uint8.
        name: of the file, for the message.

    Raises:
        UserError: it has colours, so it is not a mask.
    """
    if picture.ndim == 2:
        return picture
    spread = picture.max(axis=2).astype(np.int16) - picture.min(axis=2)
    if (spread > _GREY_SLACK).mean() > _GREY_SHARE:
        raise UserError(
            f"mask: {name}: is a picture in 3 colour channels; a mask is grey: white is made anew, "
            "black is kept"
        )
    return picture[..., 0]


def check_mask(mask: SourceVideo, video: SourceVideo) -> None:
    """Refuse a mask that does not fit its video, before any work.

    The official loader resizes a mask of another size, and truncates the longer of the two.

    Raises:
        UserError: it is of another size or length, or its first frame has colours.
    """
    if mask.size != video.size:
        raise UserError(
            f"mask: {mask.name}: is {mask.size[1]}x{mask.size[0]} and the video "
            f"{video.size[1]}x{video.size[0]}; they must be of one size"
        )
    frames, others = len(mask.starts_s), len(video.starts_s)
    if frames not in (1, others):
        raise UserError(
            f"mask: {mask.name}: has {frames} frames and the video {others}; need as many, or one "
            "picture"
        )
    grey_mask(mask.pictures[0], mask.name)


def shape_mask(mask: np.ndarray, form: str = "original", expand: float = 0.0) -> np.ndarray:
    """Simplify and grow a mask.

    Args:
        mask: (H, W) uint8; from 128 on it counts as white.
        form: a row of FORMS.
        expand: how far it then grows on all sides, 0 or more, as a share of the longer side of
            its box (of the same side where the form is a box).

    Returns:
        (H, W) uint8; the mask itself, with its shades, where nothing changes.

    """
    white = mask > 127
    box = bounding_box(white)
    if box is None or (form == "original" and not expand):
        return mask
    if form == "bbox":
        return _fill_box(mask.shape, _grow_box(box, expand)).astype(np.uint8) * 255
    formed = FORMS[form](white)
    if expand:
        top, left, bottom, right = box
        formed = _grow(formed, expand * max(bottom - top, right - left))
    return formed.astype(np.uint8) * 255


def bounding_box(white: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right) of what is set, the last two exclusive; None of nothing."""
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _hull(white: np.ndarray) -> np.ndarray:
    """The convex hull of all set pixels."""
    import cv2  # noqa: PLC0415  half a second that tasks without masks do not wait for

    points = np.argwhere(white)[:, ::-1].astype(np.int32)
    filled = np.zeros(white.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled.astype(bool)


def _box(white: np.ndarray) -> np.ndarray:
    box = bounding_box(white)
    return white if box is None else _fill_box(white.shape, box)


def _same(white: np.ndarray) -> np.ndarray:
    return white


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "original": _same,
    "hull": _hull,
    "bbox": _box,
}
"""Shapes of a mask; together with `expand` the six of VACE's own tools."""


def _fill_box(shape: tuple[int, ...], box: tuple[int, int, int, int]) -> np.ndarray:
    filled = np.zeros(shape, bool)
    top, left, bottom, right = box
    filled[max(0, top) : bottom, max(0, left) : right] = True
    return filled


def _grow_box(box: tuple[int, int, int, int], share: float) -> tuple[int, int, int, int]:
    top, left, bottom, right = box
    down, across = round(share * (bottom - top)), round(share * (right - left))
    return top - down, left - across, bottom + down, right + across


def _grow(white: np.ndarray, radius: float) -> np.ndarray:
    """All pixels within a distance in pixels of a set one."""
    import cv2  # noqa: PLC0415  see above

    away = (~white).astype(np.uint8)
    return cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius
