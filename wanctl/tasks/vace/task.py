"""The VACE task: control, in- and outpainting, extension and reference images.

Differences from the official code, where that is wrong or undefined:
- any canvas is accepted, by the same rule; there, anything but 480x832 and 720x1280 is an error;
- a mask of another size or length than its video, or with colours, is refused;
- more references than latent frames work (see `vace_context`);
- video with gaps keeps its order (see `frame_ids`).

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
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize, SourceVideo
from wanctl.tasks.pixels import to_array, to_uint8
from wanctl.tasks.vace.context import vace_context
from wanctl.tasks.vace.controls import check_layout
from wanctl.tasks.vace.masks import check_mask
from wanctl.tasks.vace.sizes import letterbox_white, resize_crop_uint8, source_shape
from wanctl.tasks.vace.source import (
    Source,
    blank_source,
    check_names,
    layout_source,
    source_frame_indices,
    source_from_video,
    source_video_shape,
)
from wanctl.tasks.vace_options import VaceOptions


class VACE(Task):
    """Video from text and any of: video, mask, end frames, reference images, layout."""

    name = "vace"
    optional_inputs = (
        "image", "last_image", "video", "mask", "references", "given_frames", "vace",
    )  # fmt: skip

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models with control blocks."""
        return None if dit.vace_layers else "it has no control blocks"

    def check(self, inputs: Inputs) -> None:
        """Check that the inputs and options are compatible."""
        super().check(inputs)
        how = _vace_options(inputs)
        check_names(how)
        pictures = inputs.image is not None or inputs.last_image is not None
        if inputs.video is None:
            needs_video = {
                "mask": inputs.mask is not None,
                "given_frames": inputs.given_frames is not None,
                "vace.control": how.control != "source",
                "vace.outpaint": any(how.outpaint),
                "vace.extend": any(how.extend),
            }
            for key, is_set in needs_video.items():
                if is_set:
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
        """Size of the source where there is one, by the official rule; else the requested size.

        `requested.exact` cuts the source to the requested size, where the official code keeps its
        shape.

        Raises:
            UserError: the inputs are incompatible or have no possible size.
        """
        canvas = super().size(inputs, requested, defaults, vae)
        noise_shape(vae, *canvas)
        how = _vace_options(inputs)
        if inputs.video is None:
            known = _end_frames(inputs)
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

    def more_frames(self, latent_frames: int, references: int) -> int:  # noqa: ARG002
        """A latent frame for each reference."""
        return references

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Text and control; the control is the same for all items."""
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
        """The source video and its mask, in pixels."""
        how = _vace_options(inputs)
        if inputs.video is not None:
            clip = _first(inputs.video, inputs.given_frames)
            places = source_frame_indices(clip, how, size.frames)
            return source_from_video(clip, inputs.mask, how, places, size)
        known = _end_frames(inputs)
        if known is not None:
            places: list[int | None] = [None] * size.frames
            if inputs.image is not None:
                places[0] = 0
            if inputs.last_image is not None:
                places[-1] = len(known.pictures) - 1
            return source_from_video(known, None, how, places, size)
        return layout_source(how.layout, size) if how.layout else blank_source(size)

    def output_latents(self, latents: Tensor, inputs: Inputs) -> Tensor:
        """Drop the latent frames of the references, which are no part of the video."""
        return latents[:, :, len(inputs.references) :]


def _vace_options(inputs: Inputs) -> VaceOptions:
    return inputs.vace or VaceOptions()


def _first(clip: SourceVideo, frames: int | None) -> SourceVideo:
    """The first frames of a video; None: all.

    Raises:
        UserError: it has fewer.
    """
    count = len(clip.starts_s)
    if frames is not None and not 1 <= frames <= count:
        raise UserError(f"given_frames: got {frames}; {clip.name} has {count}")
    return replace(clip, starts_s=clip.starts_s[:frames], ends_s=clip.ends_s[:frames])


def _end_frames(inputs: Inputs) -> SourceVideo | None:
    """First and last image as a video of one or two frames; the last is cropped to the first's."""
    images = [each for each in (inputs.image, inputs.last_image) if each is not None]
    if not images:
        return None
    height, width = images[0].shape[1:]
    frames = [to_array(each) for each in images]
    if len(images) == 2 and images[1].shape != images[0].shape:
        last = resize_crop_uint8(to_uint8(images[1])[None], height, width)
        frames[1] = to_array(last[:, 0])
    zeros = np.zeros(len(images))
    return SourceVideo(frames, zeros, zeros + 1, "image", (height, width))
