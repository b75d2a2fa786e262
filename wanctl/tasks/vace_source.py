"""What VACE is shown: footage, pictures or nothing, arranged in space and time.

The result is always a video and a mask of the same size. What is kept has mask 0; what is made anew
has mask 1 and shows a control (scribbles, flow, a depth video ...) or grey where nothing is known.

| wanted                     | how                                                        |
|----------------------------|------------------------------------------------------------|
| text (and references)      | nothing given                                              |
| control by a ready video   | a video                                                    |
| control by plain footage   | a video, `control` grey, scribble or flow                  |
| boxes that move            | `layout`                                                   |
| in-painting                | a video, a mask, `control` blank                           |
| a controlled region        | a video, a mask, `control` grey, scribble or flow          |
| out-painting               | a video, `outpaint`                                        |
| extension                  | a video, `extend`                                          |
| first and last frame       | pictures at their places                                   |

Arrays are uint8 RGB (H, W, 3) until the last step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wanctl.errors import UserError, unknown
from wanctl.model.shapes import PixelShape
from wanctl.tasks.controls import CONTROLS, Track, layout, make_control
from wanctl.tasks.masks import check_size, grey_mask, shape_mask
from wanctl.tasks.vace_sizes import cover, frame_ids, source_shape

BLANK = 127
"""Grey of what nobody knows."""
MADE = 255
FILLS = ("source", "blank", *CONTROLS)


@dataclass(frozen=True)
class Clip:
    """Footage as it lies in a file, or one picture.

    Attributes:
        pictures: (H, W, 3) uint8 each, all of one size.
        starts_s: (N,) seconds at which they come on.
        ends_s: (N,) seconds at which they go.
        name: of the file, for messages.
    """

    pictures: Sequence[np.ndarray]
    starts_s: np.ndarray
    ends_s: np.ndarray
    name: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pictures[0].shape[:2]


@dataclass(frozen=True)
class Arrangement:
    """How a source is prepared.

    Attributes:
        control: what the part that is made anew shows: the `source` as it is, nothing (`blank`),
            or a row of CONTROLS made from it.
        layout: boxes drawn on white, instead of footage.
        mask_form: a row of FORMS.
        mask_expand: how far the mask grows, see `shape_mask`.
        outpaint: (left, top, right, bottom), what is added as shares of the source's sides.
        extend: frames that are added before and after.
        scale: strength of the control.
    """

    control: str = "source"
    layout: tuple[Track, ...] = ()
    mask_form: str = "original"
    mask_expand: float = 0.0
    outpaint: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    extend: tuple[int, int] = (0, 0)
    scale: float = 1.0

    @property
    def grows(self) -> bool:
        """Whether something is added around the source, in space or time."""
        return any(self.outpaint) or any(self.extend)


@dataclass(frozen=True)
class Source:
    """What the context is made of.

    Attributes:
        video: (3, F, H, W) fp32 in [-1, 1].
        mask: (1, F, H, W) fp32 in [0, 1]; 1 is made anew.
    """

    video: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Plan:
    """Which picture goes where, known before any pixel is touched.

    Attributes:
        shape: of the video that is made.
        places: for each of its frames the number of the source's picture; None shows nothing.
        border: (left, top, right, bottom) pixels around each picture.
    """

    shape: PixelShape
    places: Sequence[int | None]
    border: tuple[int, int, int, int] = (0, 0, 0, 0)


def plan_clip(clip: Clip, how: Arrangement, canvas: tuple[int, int], frames: int | None) -> Plan:
    """Where footage goes.

    Args:
        clip: the footage.
        how: its arrangement.
        canvas: (height, width); its area is the limit.
        frames: use at most so many, from the start on; None: as many as there are.

    Raises:
        UserError: the arrangement is impossible, or the footage too small.
    """
    before, after = how.extend
    if min(before, after) < 0:
        raise UserError(f"extend: got {before} and {after} frames; must be 0 or more")
    if min(how.outpaint) < 0:
        raise UserError(f"outpaint: got {how.outpaint}; shares must be 0 or more")
    height, width = clip.size
    left, top, right, bottom = how.outpaint
    border = (int(left * width), int(top * height), int(right * width), int(bottom * height))
    size = (height + border[1] + border[3], width + border[0] + border[2])
    count = len(clip.pictures)
    total = before + count + after
    total = min(total, frames) if frames else total
    shape = source_shape(*size, total, canvas)
    starts, ends = _extended(clip, before, after)
    picked = frame_ids(starts[:total], ends[:total], shape.frames)
    places = [i - before if before <= i < before + count else None for i in picked]
    return Plan(shape, places, border)


def plan_pictures(
    size: tuple[int, int], known: Mapping[int, int], canvas: tuple[int, int], frames: int
) -> Plan:
    """Where single pictures go.

    Args:
        size: (height, width) of the first.
        known: frame -> number of the picture.
        canvas: see `plan_clip`.
        frames: of the video.
    """
    shape = source_shape(*size, frames, canvas)
    return Plan(shape, [known.get(i) for i in range(shape.frames)])


def blank_source(shape: PixelShape) -> Source:
    """Nothing is given: everything is made."""
    size = (shape.frames, shape.height, shape.width)
    return Source(torch.zeros(3, *size), torch.ones(1, *size))


def layout_source(tracks: Sequence[Track], shape: PixelShape) -> Source:
    """Moving boxes: everything is made, where they say."""
    drawn = np.stack(list(layout(tracks, shape.frames, shape.height, shape.width)))
    return Source(_values(drawn, shape), blank_source(shape).mask)


def arranged_source(clip: Clip, mask: Clip | None, how: Arrangement, plan: Plan) -> Source:
    """Footage or pictures, put where the plan says.

    Without a mask everything that is given is kept where something is added to it (and where
    it is single pictures), and is a control otherwise.

    Raises:
        UserError: no such control or form, or a mask that does not fit the footage.
    """
    if how.control not in FILLS:
        raise UserError(f"control: {unknown('control', how.control, FILLS)}")
    if mask is not None:
        _check_mask(mask, clip)
    picked = [place for place in plan.places if place is not None]
    keep = how.grows or len(picked) < len(plan.places)
    whole = MADE if how.control != "source" or not keep else 0
    videos, masks = [], []
    shown = _shown(clip, picked, how)
    for place in plan.places:
        if place is None:
            picture = np.full((*_bordered(clip.size, plan.border), 3), BLANK, np.uint8)
            where = np.full(picture.shape[:2], MADE, np.uint8)
        else:
            picture, where = clip.pictures[place], _where(mask, place, how, clip.size, whole)
            picture = np.where((where > MADE // 2)[..., None], next(shown), picture)
            picture, where = _padded(picture, plan.border, BLANK), _padded(where, plan.border, MADE)
        videos.append(_values(picture[None], plan.shape))
        masks.append(_values(where[None, ..., None], plan.shape))
    made = ((torch.cat(masks, dim=1) + 1) / 2).clamp(0, 1)
    return Source(torch.cat(videos, dim=1), made)


def _extended(clip: Clip, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """The spans of a clip with frames of usual length added at both ends, from 0 on."""
    usual = float(np.mean(clip.ends_s - clip.starts_s))
    first = np.arange(before) * usual
    starts = clip.starts_s - clip.starts_s[0] + before * usual
    ends = clip.ends_s - clip.starts_s[0] + before * usual
    last = ends[-1] + np.arange(after) * usual
    return np.concatenate((first, starts, last)), np.concatenate(
        (first + usual, ends, last + usual)
    )


def _shown(clip: Clip, picked: Sequence[int], how: Arrangement) -> Iterator[np.ndarray]:
    """What the part that is made anew shows, picture by picture."""
    pictures = (clip.pictures[place] for place in picked)
    if how.control == "source":
        return pictures
    if how.control == "blank":
        return (np.full_like(picture, BLANK) for picture in pictures)
    return make_control(how.control, pictures)


def _where(
    mask: Clip | None, place: int, how: Arrangement, size: tuple[int, int], whole: int
) -> np.ndarray:
    """The mask of one picture, (H, W) uint8."""
    if mask is None:
        return np.full(size, whole, np.uint8)
    picture = mask.pictures[place if len(mask.pictures) > 1 else 0]
    return shape_mask(grey_mask(picture, mask.name), how.mask_form, how.mask_expand)


def _check_mask(mask: Clip, clip: Clip) -> None:
    check_size(mask.size, clip.size, mask.name)
    if len(mask.pictures) not in (1, len(clip.pictures)):
        raise UserError(
            f"mask: {mask.name}: has {len(mask.pictures)} frames and the video "
            f"{len(clip.pictures)}; need as many, or one picture"
        )


def _bordered(size: tuple[int, int], border: tuple[int, int, int, int]) -> tuple[int, int]:
    left, top, right, bottom = border
    return size[0] + top + bottom, size[1] + left + right


def _padded(picture: np.ndarray, border: tuple[int, int, int, int], value: int) -> np.ndarray:
    left, top, right, bottom = border
    sides = ((top, bottom), (left, right), (0, 0))[: picture.ndim]
    return np.pad(picture, sides, constant_values=value)


def _values(pictures: np.ndarray, shape: PixelShape) -> Tensor:
    """(T, H, W, C) uint8 as (C, T, height, width) fp32 in [-1, 1], resized."""
    frames = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return cover(frames, shape.height, shape.width)
