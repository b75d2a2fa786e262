"""The video VAE in tiles of the frame, for memory that does not grow with the frame's size.

Each tile goes through the whole video with its own causal cache, so time is exact. So is the
attention inside frames: it works at the latents' size, where whole frames are small, and only
what lies between it and the pixels is tiled. Measured on five real clips of 320x576 through the
demo's VAE, against the untiled result: pixels differ by at most 0.0021 (tiles of 224), 0.0014
(256) and 0.0004 (384), where a step of 8 bits is 0.0078; latents differ by 9e-5.

Shapes: B batch, C channels, T frames, H/W pixels, Y/X latent rows/columns.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from wanctl.errors import UserError
from wanctl.model.shapes import pixel_frames
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.ops.conv import Stream
from wanctl.model.vae.tiny_vae import TinyVAE
from wanctl.model.vae.wan22 import from_patches, to_patches
from wanctl.model.variants import RGB_CHANNELS
from wanctl.runtime.vae_tiles import FADE, MARGIN, MIN_TILE, OVERLAP, TileRange, tile_ranges


class TiledVAE:
    """A `WanVAE` that works tile by tile; only the video itself grows with the frame's size.

    Args:
        vae: encodes and decodes each tile.
        tile: side of a tile in pixels, a multiple of the VAE's stride.

    Raises:
        UserError: the tile is too small or not a multiple of the stride, or the VAE is a tiny one.
    """

    def __init__(self, vae: WanVAE | TinyVAE, tile: int) -> None:
        if isinstance(vae, TinyVAE):
            raise UserError(
                "model.vae_tile: a tiny VAE takes little memory and decodes whole frames; leave "
                "the key out"
            )
        stride = vae.spatial_stride
        if tile % stride or tile < MIN_TILE * stride:
            raise UserError(
                f"model.vae_tile: got {tile}; must be a multiple of {stride} and at least "
                f"{MIN_TILE * stride}"
            )
        self.vae = vae
        self.shape = vae.shape
        self.spatial_stride = stride
        self.temporal_stride = vae.temporal_stride
        self._side = tile // stride

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z, T, Y, X) normalised latents -> (B, 3, 4(T-1)+1, H, W) on the CPU."""
        return torch.cat(list(self.decode_frames(latents)), dim=2)

    def decode_frames(self, latents: Tensor, *, latent_frames: int = 1) -> Iterator[Tensor]:
        """Decode as `WanVAE.decode_frames` does; yields once all tiles are decoded."""
        batch, _, frames, rows, columns = latents.shape
        if rows <= self._side and columns <= self._side:
            yield from self.vae.decode_frames(latents, latent_frames=latent_frames)
            return
        stride, features = self.spatial_stride, self._decode_attention(latents)
        length = pixel_frames(frames, self.temporal_stride)
        # On the host: 480x832x81 is 0.4 GB, which a device short of memory does not have.
        video = torch.zeros(batch, RGB_CHANNELS, length, rows * stride, columns * stride)
        for y, x, weight_11HW in self._tiles(rows, columns, stride):
            tile = features[..., y.start : y.end, x.start : x.end]
            into = video[..., _scaled(y, stride), _scaled(x, stride)]
            start = 0
            for piece in self._decode_tile(tile, latent_frames):
                end = start + piece.shape[2]
                into[:, :, start:end] += piece.float().cpu() * weight_11HW
                start = end
        first = pixel_frames(latent_frames, self.temporal_stride)
        rest = latent_frames * self.temporal_stride
        yield video[:, :, :first]
        yield from video[:, :, first:].split(rest, dim=2) if length > first else ()

    def encode(self, video: Tensor, *, chunked: bool = True) -> Tensor:
        """Normalised latents, float32, on the video's device; tiles always in chunks."""
        stride = self.spatial_stride
        rows, columns = video.shape[3] // stride, video.shape[4] // stride
        fits = rows <= self._side and columns <= self._side
        # The VAE itself refuses sizes that it cannot encode.
        if fits or video.shape[3] % stride or video.shape[4] % stride:
            return self.vae.encode(video, chunked=chunked)
        features: Tensor | None = None
        for y, x, weight_11YX in self._tiles(rows, columns, 1):
            part = self._encode_tile(video[..., _scaled(y, stride), _scaled(x, stride)])
            if features is None:
                features = part.new_zeros(*part.shape[:3], rows, columns)
            features[..., y.start : y.end, x.start : x.end] += part * weight_11YX.to(part)
        assert features is not None
        return self.vae.normalise(self._encode_attention(features))

    def _decode_attention(self, latents: Tensor) -> Tensor:
        """The decoder up to its attention, on whole frames, which are small there."""
        vae, stream = self.vae, Stream()
        z = vae.conv2(vae.denormalise(latents).to(vae.conv2.weight.dtype))
        parts = []
        for frame in z.split(1, dim=2):
            x = vae.decoder.conv1(_channels_last(frame), stream)
            for layer in vae.decoder.middle:
                x = layer(x, stream)
            parts.append(x)
        return torch.cat(parts, dim=2)

    def _decode_tile(self, features: Tensor, latent_frames: int) -> Iterator[Tensor]:
        """The decoder after its attention, on one tile."""
        decoder, stream = self.vae.decoder, Stream()
        for chunk in features.split(latent_frames, dim=2):
            x = _channels_last(chunk)
            for layer in decoder.upsamples:
                x = layer(x, stream)
            x = decoder.head["2"](decoder.head["0"](x), stream)
            if self.shape.patch > 1:
                x = from_patches(x, self.shape.patch)
            yield x.clamp(-1, 1)

    def _encode_tile(self, video: Tensor) -> Tensor:
        """The encoder on one tile, up to its attention."""
        encoder, stream = self.vae.encoder, Stream()
        video = video.to(self.vae.conv1.weight.dtype)
        if self.shape.patch > 1:
            video = to_patches(video, self.shape.patch)
        parts = []
        rest = video[:, :, 1:].split(self.temporal_stride, dim=2) if video.shape[2] > 1 else ()
        for chunk in (video[:, :, :1], *rest):
            x = encoder.conv1(_channels_last(chunk), stream)
            for layer in encoder.downsamples:
                x = layer(x, stream)
            parts.append(x)
        return torch.cat(parts, dim=2)

    def _encode_attention(self, features: Tensor) -> Tensor:
        """The encoder from its attention on, on whole frames: means of the latents."""
        encoder, stream = self.vae.encoder, Stream()
        parts = []
        for frame in features.split(1, dim=2):
            x = _channels_last(frame)
            for layer in encoder.middle:
                x = layer(x, stream)
            parts.append(encoder.head["2"](encoder.head["0"](x), stream))
        return self.vae.conv1(torch.cat(parts, dim=2)).chunk(2, dim=1)[0]

    def _tiles(
        self, rows: int, columns: int, scale: int
    ) -> Iterator[tuple[TileRange, TileRange, Tensor]]:
        """Every tile in latent units, with the weights of its pixels; weights sum to 1."""
        across = list(zip(*self._axis(columns, scale), strict=True))
        for y, weight_H in zip(*self._axis(rows, scale), strict=True):
            for x, weight_W in across:
                yield y, x, weight_H[:, None] * weight_W

    def _axis(self, size: int, scale: int) -> tuple[list[TileRange], list[Tensor]]:
        tiles = tile_ranges(size, self._side)
        return tiles, [_fade(tiles, i, scale) for i in range(len(tiles))]


def _fade(tiles: list[TileRange], index: int, scale: int) -> Tensor:
    """Blending weights of one tile along one axis: a ramp from 0 to 1 in the overlaps."""
    weight = torch.ones((tiles[index].end - tiles[index].start) * scale)
    # 0 over this tile's margin, 1 over that of its neighbour.
    overlap = torch.arange(OVERLAP * scale) + 0.5
    ramp = ((overlap - MARGIN * scale) / (FADE * scale)).clamp(0, 1)
    if index > 0:
        weight[: len(ramp)] *= ramp
    if index + 1 < len(tiles):
        weight[-len(ramp) :] *= 1 - ramp
    return weight


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def _scaled(span: TileRange, stride: int) -> slice:
    return slice(span.start * stride, span.end * stride)
