"""Task `camera`: a start image seen by a camera that moves along a path, Fun Camera."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.camera.rays import packed_rays, plucker_rays
from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape, latent_shape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, noise_shape, pad_texts, requested_shape
from wanctl.tasks.fun.channels import clip_tokens, start_channels
from wanctl.tasks.image_channels import with_fixed_start
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.sizing import shape_of_area


class Camera(Task):
    """A video that starts at an image and follows a camera path."""

    name = "camera"
    required_inputs = ("image", "camera")

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept only models with an adapter for a camera path."""
        if dit.camera_channels:
            return None
        return "it has no adapter for a camera path, and would ignore it"

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the image's aspect ratio, or exactly the requested size."""
        self.check(inputs)
        assert inputs.image is not None
        assert inputs.camera is not None
        shape = requested_shape(requested, defaults, defaults.frames)
        inputs.camera.path(shape.frames)  # refuses what is no path
        if requested.exact:
            return shape
        area, picture = shape.height * shape.width, (inputs.image.shape[1], inputs.image.shape[2])
        return PixelShape(shape.frames, *shape_of_area("image", picture, area, vae.spatial_stride))

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
            raise UserError("frames: got 1; task camera makes videos of 5 frames or more")
        return shape

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """The start image as channels, and the rays of the path at the size of the pixels."""
        assert size is not None
        assert encode is not None
        assert inputs.camera is not None
        grid = latent_shape(size, encode.dit.ray_stride)
        noise = (encode.dit.out_channels, grid.frames, grid.height, grid.width)
        channels = start_channels(inputs.image, noise, size, encode)
        path = inputs.camera.path(size.frames)
        rays = torch.from_numpy(packed_rays(plucker_rays(path, size.height, size.width)))
        hidden = clip_tokens(inputs.image, size, encode)
        batch = len(texts)
        conditions = Conditions(
            pad_texts(texts, text_len),
            channels.expand(batch, *channels.shape),
            None if hidden is None else hidden.expand(batch, -1, -1),
            rays=rays.expand(batch, *rays.shape),
        )
        return with_fixed_start(conditions, channels, size)
