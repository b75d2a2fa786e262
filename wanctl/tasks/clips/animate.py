"""Task `animate`: a character's picture takes over the poses and the face of a performer, Animate.

Skeletons and face crops are prepared videos. With a background video and a mask of the performer
the character replaces the performer in it; without, the character moves before its own background.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.clips.api import (
    ClipSource,
    ClipTask,
    continued_channels,
    masked_latents,
    requested_frames,
)
from wanctl.tasks.footage import frames_held, shown_frames
from wanctl.tasks.inputs import Encoders, Inputs, RequestedSize, SourceVideo
from wanctl.tasks.pixels import to_float
from wanctl.tasks.sizing import letterbox_black, resize_crop_lanczos, shape_of_area

FOOTAGE = ("pose_video", "face_video", "video", "mask")


class Animate(ClipTask):
    """A character's picture, a pose video and a face video to a video of the character."""

    name = "animate"
    required_inputs = ("image", "pose_video", "face_video")
    optional_inputs = ("video", "mask", "clips")
    clip_frames = 77
    overlaps = (1, 5)

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models with networks for poses and faces."""
        return None if dit.face else "it reads no poses and faces"

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the pose video's aspect ratio, as long as the pose video."""
        self.check(inputs)
        self.clip_options(inputs)
        if (inputs.video is None) != (inputs.mask is None):
            key, other = ("video", "mask") if inputs.video else ("mask", "video")
            raise UserError(
                f"{key}: task animate takes a background video and a mask of the performer "
                f"together; name sample.{other} too"
            )
        assert inputs.pose_video is not None
        shape = requested_frames(inputs.pose_video, inputs, requested, defaults)
        for key in FOOTAGE[1:]:
            footage = getattr(inputs, key)
            if isinstance(footage, SourceVideo) and len(footage.pictures) > 1:
                _check_length(key, footage, inputs.fps, shape.frames)
        if requested.exact:
            return shape
        area, picture = shape.height * shape.width, inputs.pose_video.size
        sides = shape_of_area("pose_video", picture, area, vae.spatial_stride)
        return PixelShape(shape.frames, *sides)

    def source(self, inputs: Inputs, size: PixelShape, encode: Encoders) -> ClipSource:
        """Encode the picture, and CLIP's view of it."""
        return _Source(inputs, size, self.clip_shape(size, inputs), encode)


class _Source(ClipSource):
    """See `ClipSource`."""

    def __init__(
        self, inputs: Inputs, size: PixelShape, clip: PixelShape, encode: Encoders
    ) -> None:
        assert inputs.image is not None
        assert encode.dit.face is not None
        self._inputs, self._size, self._clip, self._encode = inputs, size, clip, encode
        self._sides, side = (clip.height, clip.width), encode.dit.face.side
        self._face_sides = (side, side)
        character = letterbox_black(inputs.image, self._sides, Image.Resampling.LANCZOS)
        self._character = masked_latents(encode.latents(character[:, None]), 1)
        self._view = encode.images([character])

    def _pictures(self, key: str, frames: Sequence[int], sides: tuple[int, int]) -> Tensor | None:
        """(3, F, H, W) frames of a video, or a picture for all of them; None without one."""
        video: SourceVideo | None = getattr(self._inputs, key)
        if video is None:
            return None
        shown = shown_frames(video, self._inputs.fps, self._size.frames)
        found = [resize_crop_lanczos(to_float(video.pictures[shown[n]]), sides) for n in frames]
        return torch.stack(found, dim=1)

    def conditions(self, frames: Sequence[int], previous: Tensor | None) -> Conditions:
        """See `ClipSource.conditions`."""
        pose = self._pictures("pose_video", frames, self._sides)
        face = self._pictures("face_video", frames, self._face_sides)
        assert pose is not None
        assert face is not None
        performer, known = self._pictures("mask", frames, self._sides), None
        if performer is not None:  # 1 where the background is kept
            latent = [side // 8 for side in self._sides]
            kept = 1 - (performer[:1] + 1) / 2
            known = F.interpolate(kept.transpose(0, 1), latent, mode="nearest")[:, 0]
        background = self._pictures("video", frames, self._sides)
        continued = continued_channels(previous, self._clip, self._encode, background, known)
        return Conditions(
            torch.zeros(1, 0, self._encode.dit.text_dim),
            torch.cat((self._character, continued), dim=1)[None],
            self._view,
            pose=self._encode.latents(pose)[None],
            performer=face[None],
            negative={"performer": torch.full_like(face, -1)[None]},
        )


def _check_length(key: str, video: SourceVideo, fps: float, frames: int) -> None:
    held = frames_held(video, fps)
    if held < frames:
        raise UserError(
            f"{key}: {video.name} holds {held} frames at {fps:g} fps; the output has {frames}, as "
            "many as the pose video or sample.frames"
        )
