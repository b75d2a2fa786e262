"""Task `control`: a video that follows a control video (pose, depth, edges ...), Fun Control.

Shapes: F frames, H/W pixels, C channels, T latent frames, Y/X latent rows/columns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape, floor_frames, valid_frames
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, noise_shape, pad_texts, requested_shape
from wanctl.tasks.footage import frames_held, shown_frames
from wanctl.tasks.fun.channels import clip_tokens, reads_control, start_channels
from wanctl.tasks.image_channels import with_fixed_start
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.known_frames import place_frames
from wanctl.tasks.sizing import resize_crop_lanczos, shape_of_area


class Control(Task):
    """Follows a control video; may start at an image and may show a reference."""

    name = "control"
    required_inputs = ("video",)
    optional_inputs = ("image", "references")

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models with channels for a control."""
        if reads_control(dit):
            return None
        return "it has no channels for a control video" + (
            " (its task is camera)" if dit.camera_channels else ""
        )

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the control video's aspect ratio, as long as it lasts."""
        self.check(inputs)
        assert inputs.video is not None
        if len(inputs.references) > 1:
            raise UserError(
                f"references: got {len(inputs.references)}; task control takes one picture"
            )
        held = frames_held(inputs.video, inputs.fps)
        shape = requested_shape(requested, defaults, defaults.frames)
        if requested.frames is None:
            shape = shape._replace(frames=min(shape.frames, floor_frames(held)))
        if shape.frames > held and valid_frames(shape.frames):
            raise UserError(
                f"frames: got {shape.frames}; {inputs.video.name} holds {held} at {inputs.fps:g} "
                f"fps: say `--set sample.frames={floor_frames(held)}`"
            )
        if not requested.exact:
            area = shape.height * shape.width
            sides = shape_of_area("video", inputs.video.size, area, vae.spatial_stride)
            shape = PixelShape(shape.frames, *sides)
        return shape

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """Control and start image as channels, the reference as tokens."""
        assert size is not None
        assert encode is not None
        if inputs.references and not encode.dit.reference_channels:
            raise UserError("references: this model reads none; take one of Fun V1.1 or 2.2")
        assert inputs.video is not None
        sides = (size.height, size.width)
        pictures = place_frames(inputs, shown_frames(inputs.video, inputs.fps, size.frames))
        video = torch.stack([resize_crop_lanczos(each, sides) for each in pictures], dim=1)
        control = encode.latents(video)
        start = start_channels(inputs.image, (*control.shape,), size, encode)  # pyright: ignore[reportArgumentType]
        channels = torch.cat((control, start))
        reference = None
        if encode.dit.reference_channels:
            reference = torch.zeros(encode.dit.reference_channels, *control.shape[2:])
            for picture in inputs.references:
                reference = encode.latents(resize_crop_lanczos(picture, sides)[:, None])[:, 0]
        seen = inputs.references[0] if inputs.references else inputs.image
        hidden = clip_tokens(seen, size, encode)
        batch = len(texts)
        conditions = Conditions(
            pad_texts(texts, text_len),
            channels.expand(batch, *channels.shape),
            None if hidden is None else hidden.expand(batch, -1, -1),
            reference=None if reference is None else reference.expand(batch, *reference.shape),
        )
        return with_fixed_start(conditions, start, size)

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
            raise UserError("frames: got 1; task control makes videos of 5 frames or more")
        return shape
