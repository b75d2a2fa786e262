"""Sizes in pixels, latents and tokens; the 4n+1 rule lives here and nowhere else.

Torch-free, so that recipes and plans can be checked without loading a model.
"""

from typing import NamedTuple

from wanctl.errors import UserError

TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
PATCH = (1, 2, 2)
SIDE_MULTIPLE = SPATIAL_STRIDE * PATCH[1]


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


def latent_shape(video: PixelShape) -> LatentShape:
    """Latent size of a video.

    Raises:
        UserError: frames are not 4n+1, or a side is not a multiple of 16.
    """
    if not valid_frames(video.frames):
        low = floor_frames(video.frames)
        raise UserError(f"frames: got {video.frames}; must be 4n+1, e.g. {low} or {low + 4}")
    for name, side in (("height", video.height), ("width", video.width)):
        if side < SIDE_MULTIPLE or side % SIDE_MULTIPLE:
            low = max(SIDE_MULTIPLE, side // SIDE_MULTIPLE * SIDE_MULTIPLE)
            raise UserError(
                f"{name}: got {side}; must be a multiple of {SIDE_MULTIPLE}, e.g. {low}"
            )
    return LatentShape(
        (video.frames - 1) // TEMPORAL_STRIDE + 1,
        video.height // SPATIAL_STRIDE,
        video.width // SPATIAL_STRIDE,
    )
