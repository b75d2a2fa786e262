"""VACE's 96 control channels: latents of the kept and the generated region, and the mask.

The official code makes the part of the mask that belongs to reference images as long as it can cut
it from the video's, which is too short where there are more references than latent frames (two
references for one picture); diffusers does the same and also puts the references in reverse.
Here every reference has a latent frame of its own, in the order of the recipe.

Shapes: C channels, T latent frames, F frames, H/W pixels, Y/X latent rows/columns.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wanctl.model.shapes import SPATIAL_STRIDE, TEMPORAL_STRIDE, valid_frames

Encode = Callable[[Tensor], Tensor]
"""(3, F, H, W) pixels in [-1, 1] to (C, T, Y, X) normalised latents."""


def vace_context(
    video: Tensor, mask: Tensor, references: Sequence[Tensor], encode: Encode
) -> Tensor:
    """Build the control of one video.

    Args:
        video: (3, F, H, W) fp32 in [-1, 1]; 4n+1 frames, sides a multiple of 16.
        mask: (1, F, H, W) fp32 in [0, 1]; 1 is generated, 0 kept.
        references: (3, H, W) fp32 in [-1, 1].
        encode: encodes with the VAE.

    Returns:
        (2C + 64, R + T, Y, X): latents of kept pixels, of generated pixels, and the mask; R
        references come first, with no generated region.

    Raises:
        ValueError: a shape does not fit the video's.
    """
    _check(video, mask, references)
    made = mask > 0.5
    kept, changed = encode(video * ~made), encode(video * made)
    frames = [torch.cat((kept, changed, regroup(mask[0]).to(kept)))]
    for reference in references:
        latent = encode(reference[:, None])
        nothing = latent.new_zeros(len(frames[0]) - len(latent), *latent.shape[1:])
        frames.insert(-1, torch.cat((latent, nothing)))
    return torch.cat(frames, dim=1)


def regroup(mask: Tensor) -> Tensor:
    """Rearrange a mask's pixels into channels of the latent grid, without loss in space.

    Args:
        mask: (F, H, W).

    Returns:
        (64, T, Y, X); channel 8 * row + column is the pixel there in its latent's 8x8.
    """
    stride = SPATIAL_STRIDE
    frames, height, width = mask.shape
    cells = mask[mask_frames(frames)].view(-1, height // stride, stride, width // stride, stride)
    return cells.permute(2, 4, 0, 1, 3).flatten(0, 1)


def mask_frames(frames: int) -> list[int]:
    """For each latent frame the frame whose mask it takes: the middle one (`nearest-exact`)."""
    count = (frames + TEMPORAL_STRIDE - 1) // TEMPORAL_STRIDE
    return [(2 * i + 1) * frames // (2 * count) for i in range(count)]


def _check(video: Tensor, mask: Tensor, references: Sequence[Tensor]) -> None:
    size = tuple(video.shape[2:])
    if not valid_frames(video.shape[1]):
        raise ValueError(f"video: got {video.shape[1]} frames; must be 4n+1")
    if tuple(mask.shape) != (1, *video.shape[1:]):
        raise ValueError(
            f"mask: got {tuple(mask.shape)}; need one channel, {(1, *video.shape[1:])}"
        )
    for reference in references:
        if tuple(reference.shape) != (3, *size):
            raise ValueError(f"references: got {tuple(reference.shape)}; need {(3, *size)}")
