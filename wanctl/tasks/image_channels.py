"""Tasks of models that read known frames as channels next to the noise (I2V, FLF2V).

In all of them some frames are known and the others are grey. The model reads a mask and the VAE's
latents of that video; some models read one or two of the images through CLIP as well.

Shapes: F frames, H/W pixels, C channels, T latent frames, Y/X latent rows/columns.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import (
    SPATIAL_STRIDE,
    TEMPORAL_STRIDE,
    PixelShape,
    floor_frames,
    valid_frames,
)
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, pad_texts, requested_shape
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.known_frames import known_latents, last_frames, place_frames
from wanctl.tasks.sizing import resize_bicubic, resize_crop_lanczos, shape_of_area

MASK_CHANNELS = TEMPORAL_STRIDE
ONE_PICTURE, TWO_PICTURES = 1, 2


class KnownFramesTask(Task):
    """Base of tasks with known frames; subclasses say which by `known_frames`."""

    size_input: ClassVar[str]
    """The input whose aspect ratio the output takes."""

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models with channels for a mask and images."""
        return None if has_image_channels(dit) else "it has no channels for pictures"

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the first image's aspect ratio, or exactly the requested size."""
        self.check(inputs)
        shape = requested_shape(requested, defaults, self.default_frames(defaults.frames))
        if shape.frames == 1:
            raise UserError(f"frames: got 1; task {self.name} makes videos of 5 frames or more")
        if not requested.exact:
            area = shape.height * shape.width
            picture = self.source_size(inputs, shape.frames)
            sides = shape_of_area(self.size_input, picture, area, vae.spatial_stride)
            shape = PixelShape(shape.frames, *sides)
        if valid_frames(shape.frames):  # what is not is refused with its reason later
            self.known_indices(inputs, shape.frames)
        return shape

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Text, mask and known frames as channels, and CLIP's hidden states."""
        assert size is not None
        assert encode is not None
        context = pad_texts(texts, text_len)
        known = self.known_frames(inputs, size)
        channels = known_frame_channels(known, size, encode)
        seen = num_clip_images(encode.dit)
        image = None
        if seen:
            first, last = known[min(known)], known[max(known)]
            hidden = encode.images([first, last][:seen])
            image = hidden.flatten(0, 1).expand(len(texts), -1, -1)
        conditions = Conditions(context, channels.expand(len(texts), -1, -1, -1, -1), image)
        return with_fixed_start(conditions, channels, size)

    @abstractmethod
    def source_size(self, inputs: Inputs, frames: int) -> tuple[int, int]:
        """(height, width) of the image or video whose aspect ratio the output takes."""

    @abstractmethod
    def known_indices(self, inputs: Inputs, frames: int) -> Sequence[int]:
        """Frame numbers of the known frames.

        Raises:
            UserError: `KEY: message`.
        """

    @abstractmethod
    def known_frames(self, inputs: Inputs, size: PixelShape) -> Mapping[int, Tensor]:
        """Frame number -> its image (3, H, W), all of one size."""


class I2V(KnownFramesTask):
    """Image to video: the first frame is known."""

    name = "i2v"
    required_inputs = ("image",)
    size_input = "image"

    def refusal(self, dit: DiTShape) -> str | None:
        """Refuse models that always read two images through CLIP."""
        if num_clip_images(dit) == TWO_PICTURES:
            return "it looks at two pictures, the first frame and the last (task flf2v)"
        return super().refusal(dit)

    def source_size(self, inputs: Inputs, frames: int) -> tuple[int, int]:  # noqa: ARG002
        """Size of the image."""
        return _size_of(inputs.image)

    def known_indices(self, inputs: Inputs, frames: int) -> Sequence[int]:  # noqa: ARG002
        """The first frame."""
        return (0,)

    def known_frames(self, inputs: Inputs, size: PixelShape) -> Mapping[int, Tensor]:
        """The image, cropped only where an exact size is requested."""
        assert inputs.image is not None
        return {0: _fit(inputs.image, inputs, size)}


class FLF2V(KnownFramesTask):
    """First and last frame to video."""

    name = "flf2v"
    required_inputs = ("image", "last_image")
    size_input = "image"

    def refusal(self, dit: DiTShape) -> str | None:
        """Refuse models that read a single image through CLIP."""
        if num_clip_images(dit) == ONE_PICTURE:
            return "it looks at one picture (task interpolation takes a last frame too)"
        return super().refusal(dit)

    def source_size(self, inputs: Inputs, frames: int) -> tuple[int, int]:  # noqa: ARG002
        """Size of the first image."""
        return _size_of(inputs.image)

    def known_indices(self, inputs: Inputs, frames: int) -> Sequence[int]:  # noqa: ARG002
        """The first and the last frame."""
        return (0, frames - 1)

    def known_frames(self, inputs: Inputs, size: PixelShape) -> Mapping[int, Tensor]:
        """Both images; a last image of another size is resized to cover the first and cropped.

        The official code computes the covering size and then only cuts or pads, without scaling.
        """
        assert inputs.image is not None
        assert inputs.last_image is not None
        last = resize_crop_lanczos(inputs.last_image, _size_of(inputs.image))
        pictures = {0: inputs.image, size.frames - 1: last}
        return {place: _fit(each, inputs, size) for place, each in pictures.items()}


class Continuation(KnownFramesTask):
    """Video continuation: the source's last frames are the output's first ones."""

    name = "continuation"
    required_inputs = ("video",)
    optional_inputs = ("given_frames",)
    size_input = "video"

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept models with channels for images, or with a timestep per frame."""
        return None if accepts_known_latents(dit) else super().refusal(dit)

    def source_size(self, inputs: Inputs, frames: int) -> tuple[int, int]:  # noqa: ARG002
        """Size of the video."""
        assert inputs.video is not None
        return inputs.video.size

    def known_indices(self, inputs: Inputs, frames: int) -> Sequence[int]:
        """The first frames, as many as the video gives."""
        return range(len(last_frames(inputs, frames)))

    def known_frames(self, inputs: Inputs, size: PixelShape) -> Mapping[int, Tensor]:
        """The video's last frames at the output's frame rate."""
        pictures = place_frames(inputs, last_frames(inputs, size.frames))
        return {place: _fit(each, inputs, size) for place, each in enumerate(pictures)}

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Known frames as channels; models without such channels get known latents."""
        assert size is not None
        assert encode is not None
        if has_image_channels(encode.dit):
            return super().conditions(texts, text_len, inputs, size, encode)
        known = self.known_frames(inputs, size)
        if not valid_frames(len(known)):
            low = floor_frames(len(known))
            raise UserError(
                f"given_frames: got {len(known)}; this model is given whole latent frames: must "
                f"be 4n+1, e.g. {low} or {low + TEMPORAL_STRIDE}"
            )
        video = torch.stack(
            [resize_crop_lanczos(picture, (size.height, size.width)) for picture in known.values()],
            dim=1,
        )
        return known_latents(pad_texts(texts, text_len), encode.latents(video), size)


class Interpolation(KnownFramesTask):
    """Any frames are known, the others are generated."""

    name = "interpolation"
    required_inputs = ("known_frames",)
    size_input = "known_frames"

    def source_size(self, inputs: Inputs, frames: int) -> tuple[int, int]:
        """Size of the image of the known frame that comes first in the video."""
        first = min(inputs.known_frames, key=lambda frame: frame + frames * (frame < 0))
        return _size_of(inputs.known_frames[first])

    def known_indices(self, inputs: Inputs, frames: int) -> Sequence[int]:
        """The frames that the recipe names, negative numbers counted from the end."""
        places = []
        for frame in inputs.known_frames:
            place = frame + frames if frame < 0 else frame
            if not 0 <= place < frames:
                raise UserError(
                    f"known_frames: got frame {frame}; the video has frames 0 to {frames - 1}"
                )
            if place in places:
                raise UserError(f"known_frames: frame {place} is named twice")
            places.append(place)
        return places

    def known_frames(self, inputs: Inputs, size: PixelShape) -> Mapping[int, Tensor]:
        """All images, resized to cover the first one's size and cropped."""
        sides = self.source_size(inputs, size.frames)
        pictures = (resize_crop_lanczos(picture, sides) for picture in inputs.known_frames.values())
        places = self.known_indices(inputs, size.frames)
        return {
            place: _fit(picture, inputs, size)
            for place, picture in zip(places, pictures, strict=True)
        }


def has_image_channels(dit: DiTShape) -> bool:
    """Whether a transformer reads a mask and encoded images next to the noise."""
    return dit.in_channels == 2 * dit.out_channels + MASK_CHANNELS


def accepts_known_latents(dit: DiTShape) -> bool:
    """Whether known latents can replace noise: the transformer has no other inputs."""
    plain = dit.in_channels == dit.out_channels and not dit.vace_layers
    return plain and not dit.image_dim and not dit.speech


def num_clip_images(dit: DiTShape) -> int:
    """Number of images that a transformer reads through CLIP."""
    if not dit.image_dim:
        return 0
    return TWO_PICTURES if dit.image_tokens else ONE_PICTURE


def frame_mask(places: Sequence[int], frames: int) -> Tensor:
    """Mask of known frames as channels: (4, T).

    A latent frame holds four frames, the first one a single frame that is repeated four times:
    channel c of latent frame t is frame 4(t - 1) + 1 + c.
    """
    known = torch.zeros(frames)
    known[list(places)] = 1
    padded = torch.cat((known[:1].expand(MASK_CHANNELS), known[1:]))
    return padded.view(-1, MASK_CHANNELS).T


def known_frame_channels(known: Mapping[int, Tensor], size: PixelShape, encode: Encoders) -> Tensor:
    """Mask and latents of a video with known frames, the others grey: (4 + C, T, Y, X)."""
    video = torch.zeros(3, *size)  # grey
    for place, picture in known.items():
        video[:, place] = resize_bicubic(picture, (size.height, size.width))
    latents = encode.latents(video)
    mask = frame_mask(list(known), size.frames).to(latents)
    return torch.cat((mask[..., None, None].expand(-1, -1, *latents.shape[2:]), latents))


def with_fixed_start(conditions: Conditions, start: Tensor, size: PixelShape) -> Conditions:
    """Conditions whose first latent frame is also fixed, for models with a timestep per frame.

    Those are models with the VAE of Wan 2.2, of 16 pixels per latent side (Fun 5B). Where the first
    frame is not known, none is fixed; these conditions stand in one batch with others all the same.

    Args:
        conditions: with `start` among their channels.
        start: (4 + C, T, Y, X), mask and latents of a video with known frames.
        size: of the video.
    """
    if size.height // start.shape[-2] == SPATIAL_STRIDE:
        return conditions
    known = int(start[:MASK_CHANNELS, 0].all())
    fixed = known_latents(conditions.context, start[MASK_CHANNELS:, :known], size)
    return replace(conditions, known=fixed.known, known_frames=fixed.known_frames)


def _size_of(picture: Tensor | None) -> tuple[int, int]:
    assert picture is not None
    return picture.shape[1], picture.shape[2]


def _fit(picture: Tensor, inputs: Inputs, size: PixelShape) -> Tensor:
    """The image; resized and cropped to the output where an exact size is requested."""
    return resize_crop_lanczos(picture, (size.height, size.width)) if inputs.exact else picture
