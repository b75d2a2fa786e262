"""Task `s2v`: the person of a picture speaks or sings a sound, S2V.

The frames that a clip continues are read as tokens, and decoded before its own. The first frames of
the first clip, which follow a picture and no video, are dropped; the sound begins after them, so
that it stays in step with the lips. (The official code lets it begin with them: lips are three
frames early there.)

Shapes: F frames, H/W pixels, C channels, T latent frames, Y/X latent rows/columns, S layers of the
audio encoder, E width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.references import References
from wanctl.errors import UserError
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import noise_shape, requested_shape
from wanctl.tasks.clips.api import ClipSource, ClipTask
from wanctl.tasks.clips.sound_features import features_at, official_clips, resampled
from wanctl.tasks.footage import SLACK_S, frames_held, shown_frames
from wanctl.tasks.inputs import NO_INPUTS, ClipOptions, Encoders, Inputs, RequestedSize
from wanctl.tasks.pixels import to_float
from wanctl.tasks.sizing import resize_short_crop, shape_below_area

MULTIPLE = 64  # of both sides, pixels: the oldest frames are read in patches of this side
MIN_SOUND_S = 0.2
PICTURES_BEFORE = 6  # last frames before a video that begins with the picture
REFERENCE_FRAMES = 3  # latent frames that picture and frames before take in the sequence, about


class S2V(ClipTask):
    """A picture of a person and a sound to a video of the person speaking, with the sound."""

    name = "s2v"
    required_inputs = ("image", "audio")
    optional_inputs = ("pose_video", "clips", "speech")
    overlap = 73
    overlaps = (73,)
    clip_frames = overlap + 80
    dropped_frames = 4  # the picture's, and three more
    seeds_clips = True
    encoded_streams = 1.0  # the frames before and the poses are half as long each

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models that read speech."""
        return None if dit.speech else "it reads no speech"

    def clip_options(self, inputs: Inputs) -> ClipOptions:
        """See `ClipTask.clip_options`; frames of a clip include those before it."""
        least, given = self.overlap + TEMPORAL_STRIDE, inputs.clips
        if given and given.frames is not None and given.frames < least:
            raise UserError(
                f"clips.frames: got {given.frames}; task s2v needs at least {least}, of which "
                f"{self.overlap} are those before the clip"
            )
        return super().clip_options(inputs)

    def size(
        self,
        inputs: Inputs,
        requested: RequestedSize,
        defaults: RunDefaults,
        vae: VAEShape,  # noqa: ARG002
    ) -> PixelShape:
        """The picture's size within the requested area, as long as the sound."""
        self.check(inputs)
        assert inputs.image is not None
        assert inputs.audio is not None
        new = self._new_frames(inputs)
        if inputs.audio.seconds < MIN_SOUND_S:
            raise UserError(
                f"audio: {inputs.audio.name}: lasts {inputs.audio.seconds:.2f} s; need at least "
                f"{MIN_SOUND_S:g} s"
            )
        if requested.frames == 1:
            raise UserError("frames: got 1; task s2v makes a video")
        # the official number of clips may leave out the last frames of a sound: none is added
        clips = official_clips(len(inputs.audio.speech), new, inputs.fps)
        lasting = math.ceil((inputs.audio.seconds - SLACK_S) * inputs.fps)
        frames = requested.frames or max(2, min(lasting, clips * new + self._first_frame(inputs)))
        shape = requested_shape(requested, defaults, frames)
        pose = inputs.pose_video
        if pose is not None and (held := frames_held(pose, inputs.fps)) < frames:
            raise UserError(
                f"pose_video: {pose.name} holds {held} frames at {inputs.fps:g} fps; the output "
                f"has {frames}, as many as the sound or sample.frames"
            )
        if requested.exact:
            for key, side in (("height", shape.height), ("width", shape.width)):
                if side % MULTIPLE:
                    raise UserError(f"{key}: got {side}; must be a multiple of {MULTIPLE} in s2v")
            return shape
        picture = (inputs.image.shape[1], inputs.image.shape[2])
        sides = shape_below_area("image", picture, shape.height * shape.width, MULTIPLE)
        return PixelShape(shape.frames, *sides)

    def clips(self, size: PixelShape, inputs: Inputs) -> list[list[int]]:
        """For each clip the numbers of the output's frames, from -3 on if some are dropped."""
        first, new = self._first_frame(inputs), self._new_frames(inputs)
        return [list(range(n, n + new)) for n in range(first, size.frames, new)]

    def latent_shape(
        self, vae: VAEShape, frames: int, height: int, width: int, inputs: Inputs = NO_INPUTS
    ) -> tuple[int, int, int, int]:
        """(C, T, Y, X) of a clip's noise."""
        clip = self.clip_shape(PixelShape(frames, height, width), inputs)
        channels, _, rows, columns = noise_shape(vae, *clip)
        return channels, self._new_frames(inputs) // TEMPORAL_STRIDE, rows, columns

    def sequence_frames(self, options: ClipOptions) -> int:
        """See `ClipTask.sequence_frames`."""
        assert options.frames
        assert options.overlap
        return (options.frames - options.overlap) // TEMPORAL_STRIDE + REFERENCE_FRAMES

    def output_latents(self, latents: Tensor, inputs: Inputs) -> Tensor:  # noqa: ARG002
        """All latents of a clip."""
        return latents

    def source(self, inputs: Inputs, size: PixelShape, encode: Encoders) -> ClipSource:
        """Encode the picture and the sound."""
        return _Source(inputs, size, encode, self.overlap)

    def _new_frames(self, inputs: Inputs) -> int:
        """Frames that a clip adds."""
        options = self.clip_options(inputs)
        assert options.frames
        assert options.overlap
        return options.frames - options.overlap

    def _first_frame(self, inputs: Inputs) -> int:
        """Number of the first clip's first frame; the output begins with frame 0."""
        begins_with_picture = inputs.speech is not None and inputs.speech.image_first
        return 0 if begins_with_picture else 1 - self.dropped_frames


class _Source(ClipSource):
    """See `ClipSource`."""

    def __init__(self, inputs: Inputs, size: PixelShape, encode: Encoders, overlap: int) -> None:
        assert inputs.image is not None
        assert inputs.audio is not None
        self._inputs, self._size, self._encode, self._overlap = inputs, size, encode, overlap
        self._sides = (size.height, size.width)
        self._picture = resize_short_crop(inputs.image, self._sides)[:, None]
        self._reference = encode.latents(self._picture)
        self._features = resampled(encode.sound(inputs.audio.speech))
        self._encoded: tuple[Tensor, Tensor] | None = None

    def start(self) -> Tensor | None:
        """Grey frames, then the picture, if the video begins with it."""
        if self._inputs.speech is None or not self._inputs.speech.image_first:
            return None
        before = torch.zeros(3, self._overlap, *self._sides)
        before[:, -PICTURES_BEFORE:] = self._picture
        return before

    def lead(self, previous: Tensor | None) -> Tensor | None:
        """Latents of the frames before a clip; before the first one, of the picture."""
        return self._reference if previous is None else self._before(previous)

    def conditions(self, frames: Sequence[int], previous: Tensor | None) -> Conditions:
        """See `ClipSource.conditions`."""
        speech = features_at(self._features, frames, self._inputs.fps)[None]
        return Conditions(
            torch.zeros(1, 0, self._encode.dit.text_dim),
            references=References(self._reference[None], timestep=0.0),
            pose=self._poses(frames),
            speech=speech,
            before=None if previous is None else self._before(previous)[None],
            negative={"speech": torch.zeros_like(speech)},
        )

    def _before(self, previous: Tensor) -> Tensor:
        if self._encoded is None or self._encoded[0] is not previous:
            self._encoded = previous, self._encode.latents(previous)
        return self._encoded[1]

    def _poses(self, frames: Sequence[int]) -> Tensor | None:
        """(1, C, T, Y, X) latents of the poses, black after the end of the output."""
        video = self._inputs.pose_video
        if video is None:
            return None
        shown = shown_frames(video, self._inputs.fps, self._size.frames)
        black = torch.full((3, *self._sides), -1.0)
        pictures = [
            resize_short_crop(to_float(video.pictures[shown[max(0, number)]]), self._sides)
            if number < len(shown)
            else black
            for number in (
                frames[0],
                *frames,
            )  # the first one twice, whose latent frame is left out
        ]
        return self._encode.latents(torch.stack(pictures, dim=1))[None, :, 1:]
