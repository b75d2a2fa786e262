"""Sizes in pixels, latents and tokens. The 4n+1 rule of frame counts is implemented here only.

Torch-free, so that recipes can be checked without importing torch.
"""

from typing import NamedTuple

from wanctl.errors import UserError

TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
PATCH = (1, 2, 2)
# More pixels than this are encoded in chunks; 81x480x832 at once takes over 30 GB.
MAX_UNCHUNKED_PIXELS = 17 * 256 * 256


class PixelShape(NamedTuple):
    """A video in pixels."""

    frames: int
    height: int
    width: int


class LatentShape(NamedTuple):
    """A video as the VAE's latents."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Length of the transformer's sequence."""
        return self.frames * (self.height // PATCH[1]) * (self.width // PATCH[2])


def fits_unchunked(video: PixelShape) -> bool:
    """Whether a video is small enough for the VAE to take it at once."""
    return video.frames * video.height * video.width <= MAX_UNCHUNKED_PIXELS


def valid_frames(frames: int, stride: int = TEMPORAL_STRIDE) -> bool:
    """Whether the VAE encodes this many frames without losing any: 4n+1."""
    return frames >= 1 and (frames - 1) % stride == 0


def floor_frames(frames: int, stride: int = TEMPORAL_STRIDE) -> int:
    """The largest valid frame count that is not above `frames` (at least 1)."""
    return max(1, pixel_frames((frames - 1) // stride + 1, stride))


def latent_frames(frames: int, stride: int = TEMPORAL_STRIDE) -> int:
    """Latent frames of a valid count of frames: the first frame has one of its own."""
    return (frames - 1) // stride + 1


def pixel_frames(latents: int, stride: int = TEMPORAL_STRIDE) -> int:
    """Frames that so many latent frames decode to."""
    return (latents - 1) * stride + 1


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
        near = f"{low} or {low + TEMPORAL_STRIDE}"
        raise UserError(f"frames: got {video.frames}; must be 4n+1, e.g. {near}")
    multiple = spatial_stride * PATCH[1]
    for name, side in (("height", video.height), ("width", video.width)):
        if side < multiple or side % multiple:
            low = max(multiple, side // multiple * multiple)
            raise UserError(f"{name}: got {side}; must be a multiple of {multiple}, e.g. {low}")
    return LatentShape(
        latent_frames(video.frames),
        video.height // spatial_stride,
        video.width // spatial_stride,
    )
