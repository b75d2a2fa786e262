"""Task `recamera`: a video is shot again along a new camera path, ReCamMaster.

Shapes: F frames, T latent frames.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wanctl.camera.paths import CameraPath
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.references import References
from wanctl.errors import UserError
from wanctl.model.shapes import TEMPORAL_STRIDE, PixelShape, floor_frames, valid_frames
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, noise_shape, pad_texts, requested_shape
from wanctl.tasks.footage import frames_held, shown_frames
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.known_frames import place_frames
from wanctl.tasks.sizing import resize_crop_lanczos, shape_of_area


class Recamera(Task):
    """The content of a video, seen by a camera that moves along another path."""

    name = "recamera"
    required_inputs = ("video", "camera")

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models whose blocks read a camera's pose."""
        return None if dit.pose_numbers else "it reads no camera poses, and would ignore the path"

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the video's aspect ratio, as long as it lasts."""
        self.check(inputs)
        assert inputs.video is not None
        assert inputs.camera is not None
        held = frames_held(inputs.video, inputs.fps)
        shape = requested_shape(requested, defaults, defaults.frames)
        if requested.frames is None:
            shape = shape._replace(frames=min(shape.frames, floor_frames(held)))
        if shape.frames > held and valid_frames(shape.frames):
            raise UserError(
                f"frames: got {shape.frames}; {inputs.video.name} holds {held} at {inputs.fps:g} "
                f"fps: say `--set sample.frames={floor_frames(held)}`"
            )
        inputs.camera.path(shape.frames)  # refuses what is no path
        if not requested.exact:
            area = shape.height * shape.width
            sides = shape_of_area("video", inputs.video.size, area, vae.spatial_stride)
            shape = PixelShape(shape.frames, *sides)
        return shape

    def latent_shape(
        self,
        vae: VAEShape,
        frames: int,
        height: int,
        width: int,
        inputs: Inputs = NO_INPUTS,  # noqa: ARG002
    ) -> tuple[int, int, int, int]:
        """(C, T, Y, X) of the noise; a single frame is refused."""
        shape = noise_shape(vae, frames, height, width)
        if frames == 1:
            raise UserError(f"frames: got 1; task {self.name} makes videos of 5 frames or more")
        return shape

    def more_frames(self, latent_frames: int, references: int) -> int:  # noqa: ARG002
        """The source's latent frames, as many as the output's."""
        return latent_frames

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """The text, the source after the new video, and the camera's poses."""
        assert size is not None
        assert encode is not None
        assert inputs.video is not None
        assert inputs.camera is not None
        pictures = place_frames(inputs, shown_frames(inputs.video, inputs.fps, size.frames))
        sides = (size.height, size.width)
        video = torch.stack([resize_crop_lanczos(each, sides) for each in pictures], dim=1)
        source = encode.latents(video)
        poses = torch.from_numpy(latent_poses(inputs.camera.path(size.frames)))
        batch = len(texts)
        return Conditions(
            pad_texts(texts, text_len),
            references=References(source.expand(batch, *source.shape)),
            poses=poses.expand(batch, *poses.shape),
        )


def latent_poses(path: CameraPath) -> np.ndarray:
    """(T, 12) fp32: rows of the 3 x 4 camera-to-world matrix of each latent frame's first frame.

    Seen from the first pose, x right, y down, z forward, lengths in metres: the published paths,
    whose files have other axes and centimetres, are brought to that form before the model.
    """
    poses = path.relative().poses[::TEMPORAL_STRIDE, :3]
    return poses.reshape(len(poses), -1).astype(np.float32)
