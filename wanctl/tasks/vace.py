"""VACE: one model for control, in- and out-painting, extension and reference images.

Differences from the official code, where that is wrong or silent:
- any canvas is taken, by the same rule; there, anything but 480x832 and 720x1280 is an error;
- a mask of another size or length than its video, or with colours, is refused;
- more references than latent frames work (see `vace_context`);
- footage with gaps keeps its order (see `frame_ids`).

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, noise_shape, pad_texts
from wanctl.tasks.controls import check_layout
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize, SourceVideo
from wanctl.tasks.masks import check_mask
from wanctl.tasks.vace_context import vace_context
from wanctl.tasks.vace_options import VaceOptions
from wanctl.tasks.vace_sizes import letterbox_white, resize_crop_uint8, source_shape
from wanctl.tasks.vace_source import (
    Source,
    blank_source,
    check_names,
    layout_source,
    source_frame_indices,
    source_from_video,
    source_video_shape,
)


class VACE(Task):
    """Video from words and any of: a video, a mask, pictures at both ends, references, a layout."""

    name = "vace"
    optional_inputs = (
        "image", "last_image", "video", "mask", "references", "given_frames", "vace",
    )  # fmt: skip

    def refusal(self, dit: DiTShape) -> str | None:
        """Only models with control blocks can."""
        return None if dit.vace_layers else "it has no control blocks"

    def check(self, inputs: Inputs) -> None:
        """Check that what is given goes together."""
        super().check(inputs)
        how = _vace_options(inputs)
        check_names(how)
        pictures = inputs.image is not None or inputs.last_image is not None
        if inputs.video is None:
            wants = {
                "mask": inputs.mask is not None,
                "given_frames": inputs.given_frames is not None,
                "vace.control": how.control != "source",
                "vace.outpaint": any(how.outpaint),
                "vace.extend": any(how.extend),
            }
            for key, wanted in wants.items():
                if wanted:
                    raise UserError(f"{key}: needs a video; say `--set sample.video=FILE`")
        elif pictures or how.layout:
            other = "pictures at its ends" if pictures else "a layout"
            raise UserError(f"video: goes not with {other}; leave one of them out")
        if pictures and how.layout:
            raise UserError("vace.layout: goes not with pictures at the ends; leave one out")
        if inputs.mask is None and (how.mask_form != "original" or how.mask_expand):
            raise UserError("vace.mask_form: needs a mask; say `--set sample.mask=FILE`")
        if inputs.mask is not None and inputs.video is not None:
            check_mask(inputs.mask, inputs.video)

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """That of the source where there is one, by the official rule; else what is asked for.

        `requested.exact` cuts the source to the requested size, where the official code keeps its
        shape.

        Raises:
            UserError: what is given does not go together or has no possible size.
        """
        canvas = super().size(inputs, requested, defaults, vae)
        noise_shape(vae, *canvas)
        how = _vace_options(inputs)
        if inputs.video is None:
            known = _ends(inputs)
            check_layout(how.layout, canvas.frames)
            if known is None or requested.exact:
                return canvas
            return source_shape(*known.size, canvas.frames, canvas[1:])
        shape = source_video_shape(_first(inputs.video, inputs.given_frames), how, canvas[1:])
        if requested.exact:
            shape = shape._replace(height=canvas.height, width=canvas.width)
        if requested.frames not in (None, shape.frames):
            raise UserError(
                f"frames: got {requested.frames}; the video makes {shape.frames}: leave it out, "
                "cut the video with sample.given_frames or add to it with sample.vace.extend"
            )
        return shape

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int, inputs: Inputs = NO_INPUTS
    ) -> tuple[int, int, int, int]:
        """(C, T, Y, X) of the noise: each reference takes a latent frame of its own."""
        channels, latent_frames, rows, columns = noise_shape(vae, frames, height, width)
        return channels, latent_frames + len(inputs.references), rows, columns

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Text and control, the control alike for all items."""
        assert size is not None
        assert encode is not None
        source = self.source(inputs, size)
        references = [letterbox_white(each, size.height, size.width) for each in inputs.references]
        control = vace_context(source.video, source.mask, references, encode.latents)
        return Conditions(
            pad_texts(texts, text_len),
            control=control.expand(len(texts), *control.shape),
            control_scale=_vace_options(inputs).scale,
        )

    def source(self, inputs: Inputs, size: PixelShape) -> Source:
        """What is kept, changed and made, in pixels."""
        how = _vace_options(inputs)
        if inputs.video is not None:
            clip = _first(inputs.video, inputs.given_frames)
            places = source_frame_indices(clip, how, size.frames)
            return source_from_video(clip, inputs.mask, how, places, size)
        known = _ends(inputs)
        if known is not None:
            places: list[int | None] = [None] * size.frames
            if inputs.image is not None:
                places[0] = 0
            if inputs.last_image is not None:
                places[-1] = len(known.pictures) - 1
            return source_from_video(known, None, how, places, size)
        return layout_source(how.layout, size) if how.layout else blank_source(size)

    def output_latents(self, latents: Tensor, inputs: Inputs) -> Tensor:
        """The frames of the references are no part of the video."""
        return latents[:, :, len(inputs.references) :]


def _vace_options(inputs: Inputs) -> VaceOptions:
    return inputs.vace or VaceOptions()


def _first(clip: SourceVideo, frames: int | None) -> SourceVideo:
    """The first frames of a clip; None: all.

    Raises:
        UserError: it has not so many.
    """
    count = len(clip.starts_s)
    if frames is not None and not 1 <= frames <= count:
        raise UserError(f"given_frames: got {frames}; {clip.name} has {count}")
    return replace(clip, starts_s=clip.starts_s[:frames], ends_s=clip.ends_s[:frames])


def _ends(inputs: Inputs) -> SourceVideo | None:
    """First and last picture as a clip of one or two; the last in the first's size."""
    given = [each for each in (inputs.image, inputs.last_image) if each is not None]
    if not given:
        return None
    height, width = given[0].shape[1:]
    pictures = [_bytes(each) for each in given]
    if len(given) == 2 and given[1].shape != given[0].shape:
        last = ((given[1] + 1) * 127.5).round().byte()
        pictures[1] = _bytes(resize_crop_uint8(last[None], height, width)[:, 0])
    zeros = np.zeros(len(given))
    return SourceVideo(pictures, zeros, zeros + 1, "image", (height, width))


def _bytes(picture: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] as (H, W, 3) uint8."""
    return ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
