"""Reference images drawn from the window itself: its subject, parts of frames and whole frames."""

import numpy as np
from torch import Tensor

from wanctl.tasks.pixels import to_float
from wanctl.train.dit.vace.kinds import Window

WHITE = 255
# Share of subjects that are cut out; the others keep what is around them.
_CUT_OUT = 0.5
_MARGIN = (0.0, 0.2)  # around a subject, as a share of its box
_CROPPED = 0.5  # share of other references that are a part of a frame
_CROP_SIDE = (0.4, 0.9)
_MIN_SIDE_PX = 16


def draw_references(window: Window, count: int) -> tuple[Tensor, ...]:
    """Reference images, (3, H, W) fp32 in [-1, 1] each; the subject comes first where there is one.

    The task itself letter-boxes them on white.
    """
    images = [_subject(window) if number == 0 else None for number in range(count)]
    drawn = [_part(window) if image is None else image for image in images]
    return tuple(to_float(image) for image in drawn)


def _subject(window: Window) -> np.ndarray | None:
    """The subject in one of the frames where it is large, on white or with what is around it."""
    rng, subject = window.rng, window.subject
    cut_out, margin, rank = rng.random() < _CUT_OUT, rng.uniform(*_MARGIN), rng.random()
    if subject is None:
        return None
    areas = subject.masks.sum(axis=(1, 2))
    large = np.flatnonzero(areas >= np.median(areas))
    frame = int(large[int(rank * len(large))])
    box = subject.box(frame)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _MIN_SIDE_PX:
        return None
    picture = window.frames[frame]
    if cut_out:
        picture = np.where(subject.masks[frame][..., None], picture, np.uint8(WHITE))
    left, top, right, bottom = box
    across, down = round(margin * (right - left)), round(margin * (bottom - top))
    return picture[max(0, top - down) : bottom + down, max(0, left - across) : right + across]


def _part(window: Window) -> np.ndarray:
    """A frame, or a part of one."""
    rng = window.rng
    frame = window.frames[int(rng.integers(len(window.frames)))]
    cropped, shares, place = rng.random() < _CROPPED, rng.uniform(*_CROP_SIDE, 2), rng.random(2)
    if not cropped:
        return frame
    sides = np.maximum(_MIN_SIDE_PX, np.round(shares * frame.shape[:2])).astype(int)
    top, left = (place * (np.array(frame.shape[:2]) - sides)).astype(int)
    return frame[top : top + sides[0], left : left + sides[1]]
