"""Input channels of the Fun family next to the noise.

Two packings exist: models of 2.1 read the latents of a start image, those of 2.2 a mask and the
latents of a video with that image as its first frame. Which one it is shows in the number of
channels.
"""

import torch
from torch import Tensor

from wanctl.model.shapes import PixelShape
from wanctl.model.variants import DiTShape
from wanctl.tasks.image_channels import MASK_CHANNELS, known_frame_channels
from wanctl.tasks.inputs import Encoders
from wanctl.tasks.sizing import resize_crop_lanczos


def reads_control(dit: DiTShape) -> bool:
    """Whether a transformer reads noise, a control and a start image."""
    return not dit.camera_channels and _mask_channels(dit) in (0, MASK_CHANNELS)


def _mask_channels(dit: DiTShape) -> int:
    """Input channels besides noise, control (none with a camera path) and start image."""
    return dit.in_channels - (2 if dit.camera_channels else 3) * dit.out_channels


def start_channels(
    image: Tensor | None, shape: tuple[int, int, int, int], size: PixelShape, encode: Encoders
) -> Tensor:
    """Channels of the start image: (C or 4 + C, T, Y, X), zeros without one.

    Args:
        image: (3, H, W) in [-1, 1], of any size; it is resized to cover the output and cropped.
        shape: (C, T, Y, X) of the noise.
        size: of the output.
        encode: encodes the image.
    """
    masked = _mask_channels(encode.dit) == MASK_CHANNELS
    if image is None:
        return torch.zeros(shape[0] + MASK_CHANNELS * masked, *shape[1:])
    fitted = resize_crop_lanczos(image, (size.height, size.width))
    if masked:
        return known_frame_channels({0: fitted}, size, encode)
    channels = torch.zeros(shape)
    # the published code fills the other frames with zeros, not with latents of grey
    channels[:, :1] = encode.latents(fitted[:, None])
    return channels


def clip_tokens(image: Tensor | None, size: PixelShape, encode: Encoders) -> Tensor | None:
    """CLIP's hidden states of an image, (1, I, E); of none zeros; None where no model reads them.

    Without an image the published code reads a black picture and multiplies by 0.
    """
    if not encode.dit.image_dim:
        return None
    seen = torch.full((3, size.height, size.width), -1.0) if image is None else image
    return encode.images([seen]) * (image is not None)
