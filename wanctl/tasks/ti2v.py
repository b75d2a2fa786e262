"""Text, or text and the first frame, to video: for models with a timestep per frame (Wan 2.2 5B).

The first latent frame is that of the image and stays fixed.
"""

from collections.abc import Sequence

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.model.shapes import PATCH, PixelShape
from wanctl.model.variants import DiTShape, RunDefaults, VAEShape
from wanctl.tasks.api import Task, pad_texts, requested_shape
from wanctl.tasks.image_channels import accepts_known_latents
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.known_frames import known_latents
from wanctl.tasks.sizing import resize_crop_lanczos, shape_of_sides


class TI2V(Task):
    """Text, or text and the first frame, to video."""

    name = "ti2v"
    optional_inputs = ("image",)

    def refusal(self, dit: DiTShape) -> str | None:
        """Accept models whose only video input is the noise."""
        return None if accepts_known_latents(dit) else "it reads pictures as channels (task i2v)"

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """The requested area in the image's aspect ratio; without an image the requested size."""
        self.check(inputs)
        shape = requested_shape(requested, defaults, self.default_frames(defaults.frames))
        if inputs.image is None or requested.exact:
            return shape
        picture = inputs.image.shape[1], inputs.image.shape[2]
        area, multiple = shape.height * shape.width, vae.spatial_stride * PATCH[1]
        return PixelShape(shape.frames, *shape_of_sides("image", picture, area, multiple))

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """The text, and the image's latents as the first frame."""
        context = pad_texts(texts, text_len)
        if inputs.image is None:
            return Conditions(context)
        assert size is not None
        assert encode is not None
        picture = resize_crop_lanczos(inputs.image, (size.height, size.width))
        return known_latents(context, encode.latents(picture[:, None]), size)
