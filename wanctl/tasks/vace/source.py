"""VACE's source: a video and a mask, built from a video, images or nothing.

Both have the same size. Kept pixels have mask 0; generated pixels have mask 1 and hold a control
(scribbles, flow, a depth video ...), or grey where nothing is known.

| use                        | inputs                                                     |
|----------------------------|------------------------------------------------------------|
| text (and references)      | none                                                       |
| control by a ready video   | a video                                                    |
| control by a plain video   | a video, `control` grey, scribble or flow                  |
| boxes that move            | `layout`                                                   |
| in-painting                | a video, a mask, `control` blank                           |
| a controlled region        | a video, a mask, `control` grey, scribble or flow          |
| out-painting               | a video, `outpaint`                                        |
| extension                  | a video, `extend`                                          |
| first and last frame       | images as end frames                                       |

Arrays are uint8 RGB (H, W, 3) until the last step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wanctl.errors import UserError, unknown
from wanctl.model.shapes import PixelShape
from wanctl.tasks.inputs import SourceVideo
from wanctl.tasks.vace.controls import CONTROLS, layout, make_control
from wanctl.tasks.vace.masks import FORMS, grey_mask, shape_mask
from wanctl.tasks.vace.sizes import frame_ids, resize_crop_uint8, source_shape
from wanctl.tasks.vace_options import Track, VaceOptions

GREY = 127
"""Grey level of unknown pixels."""
GENERATED = 255
FILLS = ("source", "blank", *CONTROLS)


@dataclass(frozen=True)
class Source:
    """Source video and mask.

    Attributes:
        video: (3, F, H, W) fp32 in [-1, 1].
        mask: (1, F, H, W) fp32 in [0, 1]; 1 is generated.
    """

    video: Tensor
    mask: Tensor


def check_names(how: VaceOptions) -> None:
    """Look up the control and the mask form.

    Raises:
        UserError: no such control or form.
    """
    if how.control not in FILLS:
        raise UserError(f"vace.control: {unknown('control', how.control, FILLS)}")
    if how.mask_form not in FORMS:
        raise UserError(f"vace.mask_form: {unknown('form', how.mask_form, FORMS)}")


def source_video_shape(clip: SourceVideo, how: VaceOptions, canvas: tuple[int, int]) -> PixelShape:
    """Size and length of the output for a source video.

    Args:
        clip: the source video.
        how: its options.
        canvas: (height, width); its area is the limit.

    Raises:
        UserError: the options are impossible, or the video too small.
    """
    if min(how.extend) < 0:
        raise UserError(f"vace.extend: got {list(how.extend)} frames; must be 0 or more")
    if min(how.outpaint) < 0:
        raise UserError(f"vace.outpaint: got {list(how.outpaint)}; shares must be 0 or more")
    size = _bordered(clip.size, _border(clip, how))
    return source_shape(*size, len(clip.starts_s) + sum(how.extend), canvas)


def source_frame_indices(clip: SourceVideo, how: VaceOptions, frames: int) -> list[int | None]:
    """For each frame of the result the index of its source frame; None: no source."""
    before, count = how.extend[0], len(clip.starts_s)
    picked = frame_ids(*_extended(clip, *how.extend), frames)
    return [i - before if before <= i < before + count else None for i in picked]


def blank_source(shape: PixelShape) -> Source:
    """The source for text alone: everything is generated."""
    size = (shape.frames, shape.height, shape.width)
    return Source(torch.zeros(3, *size), torch.ones(1, *size))


def layout_source(tracks: Sequence[Track], shape: PixelShape) -> Source:
    """The source for moving boxes: everything is generated, controlled by them."""
    drawn = np.stack(list(layout(tracks, shape.frames, shape.height, shape.width)))
    return Source(_values(drawn, shape), blank_source(shape).mask)


def source_from_video(
    clip: SourceVideo,
    mask: SourceVideo | None,
    how: VaceOptions,
    places: Sequence[int | None],
    shape: PixelShape,
) -> Source:
    """Arrange a video or end frames in space and time.

    Without a mask the whole source is kept where something is added to it, in space or in time, and
    is a control otherwise.

    Args:
        clip: the source video.
        mask: white where it is generated; one frame, or as many as the video has; of its size.
        how: the options.
        places: for each frame of the result the index of its source frame.
        shape: shape of the result.

    Raises:
        UserError: a mask with colours.
    """
    picked = [place for place in places if place is not None]
    keep = how.grows or len(picked) < len(places)
    default_mask = GENERATED if how.control != "source" or not keep else 0
    border = _border(clip, how)
    shown = _shown(clip, picked, how)
    videos, masks = [], []
    for place in places:
        if place is None:
            picture = np.full((*_bordered(clip.size, border), 3), GREY, np.uint8)
            where = np.full(picture.shape[:2], GENERATED, np.uint8)
        else:
            where = _where(mask, place, how, clip.size, default_mask)
            inside = (where > GENERATED // 2)[..., None]
            picture = _padded(np.where(inside, next(shown), clip.pictures[place]), border, GREY)
            where = _padded(where, border, GENERATED)
        videos.append(_values(picture[None], shape))
        masks.append(_values(where[None, ..., None], shape))
    made = ((torch.cat(masks, dim=1) + 1) / 2).clamp(0, 1)
    return Source(torch.cat(videos, dim=1), made)


def _border(clip: SourceVideo, how: VaceOptions) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) pixels added around each frame."""
    (height, width), (left, top, right, bottom) = clip.size, how.outpaint
    return int(left * width), int(top * height), int(right * width), int(bottom * height)


def _extended(clip: SourceVideo, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and end times with frames of mean duration added at both ends, from 0 on."""
    usual = float(np.mean(clip.ends_s - clip.starts_s))
    first = np.arange(before) * usual
    starts = clip.starts_s - clip.starts_s[0] + before * usual
    ends = clip.ends_s - clip.starts_s[0] + before * usual
    last = ends[-1] + np.arange(after) * usual
    return np.concatenate((first, starts, last)), np.concatenate(
        (first + usual, ends, last + usual)
    )


def _shown(clip: SourceVideo, picked: Sequence[int], how: VaceOptions) -> Iterator[np.ndarray]:
    """Content of the generated region, frame by frame."""
    pictures = (clip.pictures[place] for place in picked)
    if how.control == "source":
        return pictures
    if how.control == "blank":
        return (np.full_like(picture, GREY) for picture in pictures)
    return make_control(how.control, pictures)


def _where(
    mask: SourceVideo | None, place: int, how: VaceOptions, size: tuple[int, int], default: int
) -> np.ndarray:
    """The mask of one frame, (H, W) uint8."""
    if mask is None:
        return np.full(size, default, np.uint8)
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
