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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wanctl.errors import UserError, unknown
from wanctl.model.shapes import PixelShape
from wanctl.tasks.controls import CONTROLS, layout, make_control
from wanctl.tasks.inputs import SourceVideo
from wanctl.tasks.masks import FORMS, grey_mask, shape_mask
from wanctl.tasks.vace_options import Track, VaceOptions
from wanctl.tasks.vace_sizes import frame_ids, resize_crop_uint8, source_shape

BLANK = 127
"""Grey of what nobody knows."""
MADE = 255
FILLS = ("source", "blank", *CONTROLS)


@dataclass(frozen=True)
class Source:
    """What the context is made of.

    Attributes:
        video: (3, F, H, W) fp32 in [-1, 1].
        mask: (1, F, H, W) fp32 in [0, 1]; 1 is made anew.
    """

    video: Tensor
    mask: Tensor


def check_names(how: VaceOptions) -> None:
    """Look up what an arrangement names.

    Raises:
        UserError: no such control or form.
    """
    if how.control not in FILLS:
        raise UserError(f"vace.control: {unknown('control', how.control, FILLS)}")
    if how.mask_form not in FORMS:
        raise UserError(f"vace.mask_form: {unknown('form', how.mask_form, FORMS)}")


def source_video_shape(clip: SourceVideo, how: VaceOptions, canvas: tuple[int, int]) -> PixelShape:
    """Size and length of what is made of footage.

    Args:
        clip: the footage.
        how: its arrangement.
        canvas: (height, width); its area is the limit.

    Raises:
        UserError: the arrangement is impossible, or the footage too small.
    """
    if min(how.extend) < 0:
        raise UserError(f"vace.extend: got {list(how.extend)} frames; must be 0 or more")
    if min(how.outpaint) < 0:
        raise UserError(f"vace.outpaint: got {list(how.outpaint)}; shares must be 0 or more")
    size = _bordered(clip.size, _border(clip, how))
    return source_shape(*size, len(clip.starts_s) + sum(how.extend), canvas)


def source_frame_indices(clip: SourceVideo, how: VaceOptions, frames: int) -> list[int | None]:
    """For each frame of the result the number of its picture; None shows nothing."""
    before, count = how.extend[0], len(clip.starts_s)
    picked = frame_ids(*_extended(clip, *how.extend), frames)
    return [i - before if before <= i < before + count else None for i in picked]


def blank_source(shape: PixelShape) -> Source:
    """Nothing is given: everything is made."""
    size = (shape.frames, shape.height, shape.width)
    return Source(torch.zeros(3, *size), torch.ones(1, *size))


def layout_source(tracks: Sequence[Track], shape: PixelShape) -> Source:
    """Moving boxes: everything is made, where they say."""
    drawn = np.stack(list(layout(tracks, shape.frames, shape.height, shape.width)))
    return Source(_values(drawn, shape), blank_source(shape).mask)


def source_from_video(
    clip: SourceVideo,
    mask: SourceVideo | None,
    how: VaceOptions,
    places: Sequence[int | None],
    shape: PixelShape,
) -> Source:
    """Footage or pictures, put where they belong.

    Without a mask everything that is given is kept where something is added to it, in space or
    in time, and is a control otherwise.

    Args:
        clip: the footage.
        mask: white where it is made anew; one picture, or as many as the footage has; of its size.
        how: the arrangement.
        places: for each frame of the result the number of its picture.
        shape: of the result.

    Raises:
        UserError: a mask with colours.
    """
    picked = [place for place in places if place is not None]
    keep = how.grows or len(picked) < len(places)
    whole = MADE if how.control != "source" or not keep else 0
    border = _border(clip, how)
    shown = _shown(clip, picked, how)
    videos, masks = [], []
    for place in places:
        if place is None:
            picture = np.full((*_bordered(clip.size, border), 3), BLANK, np.uint8)
            where = np.full(picture.shape[:2], MADE, np.uint8)
        else:
            where = _where(mask, place, how, clip.size, whole)
            inside = (where > MADE // 2)[..., None]
            picture = _padded(np.where(inside, next(shown), clip.pictures[place]), border, BLANK)
            where = _padded(where, border, MADE)
        videos.append(_values(picture[None], shape))
        masks.append(_values(where[None, ..., None], shape))
    made = ((torch.cat(masks, dim=1) + 1) / 2).clamp(0, 1)
    return Source(torch.cat(videos, dim=1), made)


def _border(clip: SourceVideo, how: VaceOptions) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) pixels that are added around each picture."""
    (height, width), (left, top, right, bottom) = clip.size, how.outpaint
    return int(left * width), int(top * height), int(right * width), int(bottom * height)


def _extended(clip: SourceVideo, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """The spans of a clip with frames of usual length added at both ends, from 0 on."""
    usual = float(np.mean(clip.ends_s - clip.starts_s))
    first = np.arange(before) * usual
    starts = clip.starts_s - clip.starts_s[0] + before * usual
    ends = clip.ends_s - clip.starts_s[0] + before * usual
    last = ends[-1] + np.arange(after) * usual
    return np.concatenate((first, starts, last)), np.concatenate(
        (first + usual, ends, last + usual)
    )


def _shown(clip: SourceVideo, picked: Sequence[int], how: VaceOptions) -> Iterator[np.ndarray]:
    """What the part that is made anew shows, picture by picture."""
    pictures = (clip.pictures[place] for place in picked)
    if how.control == "source":
        return pictures
    if how.control == "blank":
        return (np.full_like(picture, BLANK) for picture in pictures)
    return make_control(how.control, pictures)


def _where(
    mask: SourceVideo | None, place: int, how: VaceOptions, size: tuple[int, int], whole: int
) -> np.ndarray:
    """The mask of one picture, (H, W) uint8."""
    if mask is None:
        return np.full(size, whole, np.uint8)
    picture = mask.pictures[place if len(mask.starts_s) > 1 else 0]
    return shape_mask(grey_mask(picture, mask.name), how.mask_form, how.mask_expand)


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
    return resize_crop_uint8(frames, shape.height, shape.width)
