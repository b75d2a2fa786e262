"""Sizes in pixels, latents and tokens; the 4n+1 rule lives here and nowhere else.

Torch-free, so that recipes and plans can be checked without loading a model.
"""

from typing import NamedTuple

from wanctl.errors import UserError

TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
PATCH = (1, 2, 2)


class PixelShape(NamedTuple):
    """A video in pixels."""

    frames: int
    height: int
    width: int


class LatentShape(NamedTuple):
    """The same video as the VAE's latents."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Length of the transformer's sequence."""
        return self.frames * (self.height // PATCH[1]) * (self.width // PATCH[2])


def valid_frames(frames: int) -> bool:
    """Whether the VAE encodes this many frames without losing any: 4n+1."""
    return frames >= 1 and frames % TEMPORAL_STRIDE == 1


def floor_frames(frames: int) -> int:
    """The largest valid frame count that is not above `frames` (at least 1)."""
    return max(1, (frames - 1) // TEMPORAL_STRIDE * TEMPORAL_STRIDE + 1)


def latent_shape(video: PixelShape, spatial_stride: int = SPATIAL_STRIDE) -> LatentShape:
    """Latent size of a video.

    Args:
        video: its size in pixels.
        spatial_stride: of the VAE: 8, or 16 (Wan 2.2 5B).

    Raises:
        UserError: frames are not 4n+1, or a side is not a multiple of twice the stride: the
            transformer takes patches of 2x2 latents.
    """
    if not valid_frames(video.frames):
        low = floor_frames(video.frames)
        raise UserError(f"frames: got {video.frames}; must be 4n+1, e.g. {low} or {low + 4}")
    multiple = spatial_stride * PATCH[1]
    for name, side in (("height", video.height), ("width", video.width)):
        if side < multiple or side % multiple:
            low = max(multiple, side // multiple * multiple)
            raise UserError(f"{name}: got {side}; must be a multiple of {multiple}, e.g. {low}")
    return LatentShape(
        (video.frames - 1) // TEMPORAL_STRIDE + 1,
        video.height // spatial_stride,
        video.width // spatial_stride,
    )
