"""The base of tasks that make a long video as a sequence of clips.

Each clip is sampled on its own, given the last frames of the one before. Where the footage ends
inside the last clip, it is played back and forth to its end, and the surplus frames are dropped.

Shapes: F frames, H/W pixels, C channels, T latent frames, Y/X latent rows/columns.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape, latent_frames, valid_frames
from wanctl.model.variants import RunDefaults, VAEShape
from wanctl.tasks.api import Task, noise_shape, pad_texts, requested_shape
from wanctl.tasks.footage import frames_held
from wanctl.tasks.image_channels import frame_mask
from wanctl.tasks.inputs import (
    NO_INPUTS,
    ClipOptions,
    Encoders,
    Inputs,
    RequestedSize,
    SourceVideo,
)

MIN_CLIP = TEMPORAL_STRIDE + 1


class ClipSource(Protocol):
    """What the clips of one video are made from; it keeps what all of them share."""

    def conditions(self, frames: Sequence[int], previous: Tensor | None) -> Conditions:
        """Conditions of one clip, without texts.

        Args:
            frames: number of the footage's frame at each frame of the clip.
            previous: (3, overlap, H, W) in [-1, 1], the last frames of the clip before; None for
                the first clip, where nothing is before it.
        """
        ...

    def start(self) -> Tensor | None:
        """(3, overlap, H, W) in [-1, 1], frames before the first clip; None: there are none."""
        return None

    def lead(self, previous: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """(C, T, Y, X) latents that are decoded before those of a clip; None: there are none.

        Args:
            previous: as `conditions` takes it; the lead decodes to it where it is not None.
        """
        return None


class ClipTask(Task):
    """A task whose output may be longer than what the model makes at once.

    Attributes:
        clip_frames: frames of a clip, 4n+1, where the recipe has none.
        overlap: last frames of a clip that the next one begins with.
        ends_twice: whether footage that is played back and forth shows its last frame twice.
        overlaps: values that the model knows; empty: any.
        dropped_frames: first frames of the first decoded clip that are no part of the output.
        seeds_clips: each clip's noise has a seed of its own, the next number; else the noise of
            all clips is drawn in a row.
        encoded_streams: videos as long as a clip that the VAE encodes for each, about: the footage,
            and the frames that the clip begins with.
    """

    clip_frames: ClassVar[int]
    overlap: ClassVar[int] = 1
    overlaps: ClassVar[tuple[int, ...]] = ()
    ends_twice: ClassVar[bool] = False
    dropped_frames: ClassVar[int] = 0
    seeds_clips: ClassVar[bool] = False
    encoded_streams: ClassVar[float] = 2.0

    def clip_options(self, inputs: Inputs) -> ClipOptions:
        """Options with the task's defaults filled in.

        Raises:
            UserError: `clips.KEY: message`.
        """
        given = inputs.clips or ClipOptions()
        frames = self.clip_frames if given.frames is None else given.frames
        overlap = self.overlap if given.overlap is None else given.overlap
        if not valid_frames(frames) or frames < MIN_CLIP:
            raise UserError(f"clips.frames: got {frames}; must be 4n+1, at least {MIN_CLIP}")
        if self.overlaps and overlap not in self.overlaps:
            known = " or ".join(map(str, self.overlaps))
            raise UserError(f"clips.overlap: got {overlap}; task {self.name} knows {known}")
        if not 1 <= overlap < frames:
            raise UserError(f"clips.overlap: got {overlap}; must be 1 to {frames - 1}")
        return ClipOptions(frames, overlap, given.match_colors)

    def clip_shape(self, size: PixelShape, inputs: Inputs) -> PixelShape:
        """Size of one clip of an output."""
        frames = self.clip_options(inputs).frames
        assert frames is not None
        return size._replace(frames=frames)

    def clips(self, size: PixelShape, inputs: Inputs) -> list[list[int]]:
        """For each clip the numbers of the footage's frames, 0 to `size.frames` - 1."""
        options = self.clip_options(inputs)
        assert options.frames
        assert options.overlap
        step = options.frames - options.overlap
        count = clip_count(size.frames, options.frames, options.overlap)
        return [
            [
                back_and_forth(first + frame, size.frames, ends_twice=self.ends_twice)
                for frame in range(options.frames)
            ]
            for first in range(0, count * step, step)
        ]

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int, inputs: Inputs = NO_INPUTS
    ) -> tuple[int, int, int, int]:
        """(C, T + 1, Y, X) of a clip's noise; latent frame 0 is a picture of the character."""
        clip = self.clip_shape(PixelShape(frames, height, width), inputs)
        channels, latents, rows, columns = noise_shape(vae, *clip)
        return channels, latents + 1, rows, columns

    def sequence_frames(self, options: ClipOptions) -> int:
        """Latent frames that the transformer reads for a clip, about.

        Args:
            options: all filled in.
        """
        assert options.frames
        return latent_frames(options.frames) + 1

    def output_latents(self, latents: Tensor, inputs: Inputs) -> Tensor:  # noqa: ARG002
        """The latents of a clip without the picture of the character."""
        return latents[:, :, 1:]

    def output_region(self, size: PixelShape, inputs: Inputs) -> tuple[slice, slice]:  # noqa: ARG002
        """Rows and columns of a clip's frames that belong to the output."""
        return slice(size.height), slice(size.width)

    @abstractmethod
    def source(self, inputs: Inputs, size: PixelShape, encode: Encoders) -> ClipSource:
        """Encode what all clips share."""

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Conditions of the first clip."""
        assert size is not None
        assert encode is not None
        first = self.clips(size, inputs)[0]
        conditions = self.source(inputs, size, encode).conditions(first, None)
        return conditions.with_context(pad_texts(texts, text_len))


def requested_frames(
    video: SourceVideo, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults
) -> PixelShape:
    """The requested size; without a number of frames those that the footage lasts for.

    Raises:
        UserError: `KEY: message`; the footage is shorter than the request.
    """
    held = frames_held(video, inputs.fps)
    if held == 1:
        raise UserError(f"video: {video.name}: holds one frame at {inputs.fps:g} fps; need more")
    frames = held if requested.frames is None else requested.frames
    if frames > held:
        raise UserError(
            f"frames: got {frames}; {video.name} holds {held} at {inputs.fps:g} fps: leave "
            "sample.frames out, which takes them all"
        )
    return requested_shape(requested, defaults, frames)


def clip_count(frames: int, clip_frames: int, overlap: int) -> int:
    """Clips of an output of so many frames."""
    return max(1, -(-(frames - overlap) // (clip_frames - overlap)))


def back_and_forth(frame: int, count: int, *, ends_twice: bool) -> int:
    """The frame shown at a time that may be after the end.

    Of three frames 0 1 2 | 2 1 0 | 0 1 2, or 0 1 2 1 0 1 2 where the ends are not shown twice.
    """
    period = max(1, 2 * count - (0 if ends_twice else 2))
    place = frame % period
    return min(place, period - place - ends_twice)


def masked_latents(latents: Tensor, known: int) -> Tensor:
    """Mask of the first `known` frames, then latents (C, T, Y, X): (4 + C, T, Y, X)."""
    mask = frame_mask(range(known), (latents.shape[1] - 1) * TEMPORAL_STRIDE + 1).to(latents)
    return torch.cat((mask[..., None, None].expand(-1, -1, *latents.shape[2:]), latents))


def continued_channels(
    previous: Tensor | None,
    size: PixelShape,
    encode: Encoders,
    background: Tensor | None = None,
    kept: Tensor | None = None,
) -> Tensor:
    """Mask and latents of a clip whose first frames are known, the others grey: (4 + C, T, Y, X).

    Args:
        previous: (3, overlap, H, W), the known frames; None: there are none.
        size: of the clip.
        encode: encodes the frames.
        background: (3, F, H, W) in the place of grey; None: grey.
        kept: (F, Y, X) 0 to 1, where the background is known; None: nowhere.
    """
    video = torch.zeros(3, *size) if background is None else background.clone()
    known = 0 if previous is None else previous.shape[1]
    if previous is not None:
        video[:, :known] = previous
    latents = encode.latents(video)
    assert latents.shape[1] == latent_frames(size.frames)
    if kept is None:
        return masked_latents(latents, known)
    kept = kept.clone()
    kept[:known] = 1
    first = kept[:1].expand(TEMPORAL_STRIDE, -1, -1)
    mask = torch.cat((first, kept[1:])).unflatten(0, (-1, TEMPORAL_STRIDE)).transpose(0, 1)
    return torch.cat((mask.to(latents), latents))
