"""Task `animate2`: the character of a picture moves as a driving video shows, Animate 2.

The driving video goes through the same network as a second stream (see `DrivenModel`); it needs no
poses or faces. Picture and video are put on black where their aspect ratios differ from the
output's, and the black borders of the picture are cut off at the end.
"""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, DrivingVideo
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.clips.api import (
    ClipSource,
    ClipTask,
    continued_channels,
    masked_latents,
    requested_frames,
)
from wanctl.tasks.footage import shown_frames
from wanctl.tasks.inputs import Encoders, Inputs, RequestedSize
from wanctl.tasks.pixels import to_float
from wanctl.tasks.sizing import (
    letterbox_black,
    letterbox_region,
    resize_crop_lanczos,
    shape_of_area,
)

# The block that the negative prompt's pass leaves out, as the published code does.
SKIPPED_BLOCK = 9


class Animate2(ClipTask):
    """A character's picture and a driving video to a video of the character."""

    name = "animate2"
    required_inputs = ("image", "video")
    optional_inputs = ("clips",)
    clip_frames = 81
    ends_twice = True

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models that read a driving video."""
        return None if dit.driven else "it reads no driving video"

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the picture's aspect ratio, as long as the driving video."""
        self.check(inputs)
        self.clip_options(inputs)
        assert inputs.image is not None
        assert inputs.video is not None
        shape = requested_frames(inputs.video, inputs, requested, defaults)
        if requested.exact:
            return shape
        area, picture = shape.height * shape.width, (inputs.image.shape[1], inputs.image.shape[2])
        return PixelShape(shape.frames, *shape_of_area("image", picture, area, vae.spatial_stride))

    def output_region(self, size: PixelShape, inputs: Inputs) -> tuple[slice, slice]:
        """Where the picture is on its black canvas."""
        assert inputs.image is not None
        if inputs.exact:
            return super().output_region(size, inputs)
        picture = (inputs.image.shape[1], inputs.image.shape[2])
        top, left, height, width = letterbox_region(picture, (size.height, size.width))
        return slice(top, top + height), slice(left, left + width)

    def source(self, inputs: Inputs, size: PixelShape, encode: Encoders) -> ClipSource:
        """Encode the picture, and CLIP's view of it and of the first driving frame."""
        return _Source(inputs, size, self.clip_shape(size, inputs), encode)


class _Source(ClipSource):
    """See `ClipSource`."""

    def __init__(
        self, inputs: Inputs, size: PixelShape, clip: PixelShape, encode: Encoders
    ) -> None:
        assert inputs.image is not None
        assert inputs.video is not None
        self._video = inputs.video
        self._shown = shown_frames(inputs.video, inputs.fps, size.frames)
        self._clip = clip
        self._sides = (clip.height, clip.width)
        self._encode = encode
        if inputs.exact:
            character = resize_crop_lanczos(inputs.image, self._sides)
        else:
            character = letterbox_black(inputs.image, self._sides, Image.Resampling.BICUBIC)
        self._character = masked_latents(encode.latents(character[:, None]), 1)
        self._clip_views = encode.images([character, self._driving_frame(0)])

    def _driving_frame(self, frame: int) -> Tensor:
        picture = to_float(self._video.pictures[self._shown[frame]])
        return letterbox_black(picture, self._sides, Image.Resampling.BILINEAR)

    def conditions(self, frames: Sequence[int], previous: Tensor | None) -> Conditions:
        """See `ClipSource.conditions`."""
        video = torch.stack([self._driving_frame(frame) for frame in frames], dim=1)
        driving = self._encode.latents(video)
        continued = continued_channels(previous, self._clip, self._encode)
        return Conditions(
            torch.zeros(1, 0, self._encode.dit.text_dim),
            torch.cat((self._character, continued), dim=1)[None],
            self._clip_views[:1],
            driving=DrivingVideo(
                torch.cat((driving, masked_latents(driving, len(frames))))[None],
                self._clip_views[1:],
            ),
            negative={"skipped_blocks": (SKIPPED_BLOCK,)},
        )
